"""`patchbench run --profile` leaves a profile with each run that it trains, and says where."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Here = Callable[..., "subprocess.CompletedProcess[str]"]

STUDY = """
from harness.spec import Arm, DataSpec, Recipe, ResNetSpec, Scale, Study, ViTSpec

STUDY = Study(
    question="Does it tell where it left the profiles?",
    source="a test",
    factor="model",
    scales={
        "smoke": Scale(
            data=DataSpec(source="digits", train_size=40, validation_size=40),
            recipe=Recipe(updates=2, batch_size=8, evaluations=1, precision="fp32"),
            baseline=Arm("ResNet-8", ResNetSpec(depth=8, width=4)),
            arms=(Arm("ViT", ViTSpec(patch_size=4, width=8, depth=1, heads=1)),),
            seeds=(0,),
        )
    },
)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("main_figure_only")
def test_the_profiles_of_the_runs_trained_are_named(tmp_path: Path, with_database: Path, here: Here) -> None:
    study = tmp_path / "profiled.py"
    study.write_text(STUDY)
    arguments = ("run", str(study), "--scale", "smoke", "--engine", "inline", "--quiet", "--profile")
    done = here(with_database, *arguments)
    assert done.returncode == 0, done.stderr
    named = [line.split()[1].rstrip(",") for line in done.stdout.splitlines() if line.startswith("Profile: ")]
    assert len(named) == 2
    for path in map(Path, named):
        assert "aten::" in path.read_text()
        assert (path.parent / "trace.json.gz").is_file()
    again = here(with_database, *arguments)
    assert "Profile: " not in again.stdout  # nothing was trained
