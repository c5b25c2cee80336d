"""Libraries whose modules import each other are begun by one thread, whatever the threads of a launch do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

WATCHED = """
import json, sys, threading
began = {}
class Watch:
    def find_spec(self, name, path=None, target=None):
        began.setdefault(name.partition(".")[0], []).append(threading.current_thread().name)
sys.meta_path.insert(0, Watch())
from harness.__main__ import main
path, sys.argv = sys.argv[1], ["patchbench", *sys.argv[2:]]
try:
    main()
finally:
    open(path, "w").write(json.dumps(began))
"""

STUDY = '''
"""Does depth help?"""
from harness.spec import Arm, Choice, DataSpec, Recipe, Scale, Search, Study, ViTSpec

VIT = ViTSpec(patch_size=4, width=8, depth=1, heads=1)
STUDY = Study(
    question="Does depth help?",
    source="none",
    factor="depth",
    scales={"smoke": Scale(
        data=DataSpec(source="digits", train_size=60, validation_size=40),
        recipe=Recipe(updates=4, batch_size=8, evaluations=1, precision="fp32"),
        baseline=Arm("one", VIT),
        arms=(Arm("two", ViTSpec(patch_size=4, width=8, depth=2, heads=1)),),
        search=Search(space={"learning_rate": Choice(values=(1e-3, 1e-2))}, trials=2),
    )},
)
'''


@pytest.mark.slow
def test_no_library_is_begun_by_two_threads(tmp_path: Path) -> None:
    (tmp_path / "blocks.py").write_text(STUDY)
    arguments = ("--results", "results", "run", "blocks.py", "--scale", "smoke", "--engine", "inline", "--quiet")
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "began.json", *arguments],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    began = json.loads((tmp_path / "began.json").read_text())
    assert "mlflow mirror" in began["mlflow"]
    shared = ("alembic", "numpy", "optuna", "pandas", "pyarrow", "scipy", "sqlalchemy")
    assert {library: began[library][0] for library in shared} == dict.fromkeys(shared, "MainThread")
    for library in ("pandas", "scipy"):
        assert set(began[library]) == {"MainThread"}


@pytest.mark.slow
def test_a_plan_loads_torch_but_nothing_that_only_a_report_or_a_large_model_needs(tmp_path: Path) -> None:
    (tmp_path / "blocks.py").write_text(STUDY)
    images, labels = np.zeros((80, 8, 8), dtype=np.uint8), np.arange(80) % 10
    np.savez(tmp_path / "set.npz", x_train=images, y_train=labels, x_test=images[:20], y_test=labels[:20])
    data = ("data.source=npz:set.npz", "data.train_size=40", "data.validation_size=20")  # digits come with scipy
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "began.json", "plan", "blocks.py", "--scale", "smoke", *data],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    began = json.loads((tmp_path / "began.json").read_text())
    assert "torch" in began
    needless = {"alembic", "matplotlib", "mlflow", "optuna", "pandas", "scipy", "seaborn", "sqlalchemy", "torchvision"}
    loaded = {library for library, parts in began.items() if len(parts) > 1}  # torch asks where pandas is, no more
    assert needless & loaded == set()
