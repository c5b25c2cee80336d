"""A study of two small arms that takes a second, and its launches."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stage import Launch, Stage
from what_is_kept import kept

TEXT = '''
"""Do wider transformers do better on digits?"""
from dataclasses import replace
from harness.spec import Arm, DataSpec, LogUniform, Pretraining, Recipe, Scale, Search, StartFrom, Study, ViTSpec

VIT = ViTSpec(patch_size=4, width=8, depth=1, heads=1, pool="mean")
STUDY = Study(
    question="Do wider transformers do better on digits?",
    source="none",
    factor="width",
    scales={"smoke": Scale(
        data=DataSpec(source="digits", train_size=60, validation_size=40),
        recipe=Recipe(updates=20, batch_size=8, learning_rate=3e-3, evaluations=2, precision="fp32"),
        baseline=Arm("narrow", VIT),
        arms=(Arm("wide", replace(VIT, width=16), level=16),),
        search=Search(space={"learning_rate": LogUniform(low=1e-4, high=1e-1)}, trials=2, updates=6),
        seeds=(0, 1),
    )},
)
'''


def contents(folder: Path, *, but: str = "") -> dict[str, bytes]:
    """Every file below a folder, by its path in there."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in paths
        if path.relative_to(folder).parts[0] != but
    }


@dataclass
class FaultStudy:
    """A study file with a results folder, and the stage that launches it."""

    stage: Stage
    folder: Path
    name: str = "widths"

    def __post_init__(self) -> None:
        self.file.write_text(TEXT)

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.py"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def command(self) -> tuple[object, ...]:
        return "--results", self.results, "run", self.file, "--scale", "smoke", "--quiet"

    @property
    def place(self) -> Path:
        """Where the study's own results lie."""
        return self.results / self.name / "smoke"

    def start(self, *options: object, engine: str = "inline", **environment: str) -> Launch:
        """Launch it; the environment's names are in lower case and without the prefix."""
        given = {f"PATCHBENCH_{name.upper()}": value for name, value in environment.items()}
        return self.stage.launch(*self.command, "--engine", engine, *options, environment=given)

    def finish(self, *options: object, engine: str = "inline", **environment: str) -> None:
        """Launch it and require that it ends well."""
        launch = self.start(*options, engine=engine, **environment)
        code = launch.wait()
        said = launch.said()
        assert code == 0, f"exit code {code}: {said}"

    def change(self, before: str, now: str) -> None:
        """Edit the study file."""
        assert before in TEXT
        self.file.write_text(TEXT.replace(before, now))

    def provenance(self) -> dict[str, Any]:
        """Where its results come from, as study.json says."""
        return dict(json.loads((self.place / "study.json").read_bytes())["provenance"])

    def published(self) -> dict[str, bytes]:
        """Every file of its results outside `work/`."""
        return contents(self.place, but="work")

    def kept(self) -> dict[str, Any]:
        return kept(self.results, self.name)
