"""A study whose arms train on every kind of source that a user brings: here, and in processes of their own."""

import os
import shutil
import struct
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

STUDY = '''
import numpy as np

from harness.spec import Arm, DataSpec, Recipe, ResNetSpec, Scale, Search, Study


def rows():
    """The class of an image is its brighter half."""
    rng, labels = np.random.default_rng(3), np.arange(80) % 2
    images = rng.integers(0, 60, size=(80, 8, 8), dtype=np.uint8)
    images[labels == 0, :4] += 150
    images[labels == 1, 4:] += 150
    return {"x_train": images[:60], "y_train": labels[:60], "x_test": images[60:], "y_test": labels[60:]}


MODEL = ResNetSpec(width=4)
SOURCES = SOURCES_HERE
STUDY = Study(
    question="Are all of them read?",
    source="a test",
    factor="data",
    scales={
        "smoke": Scale(
            data=DataSpec(source=f"python:{__file__}:rows", image_size=8),
            recipe=Recipe(updates=6, batch_size=16, evaluations=1, precision="fp32"),
            baseline=Arm("python", MODEL),
            arms=tuple(
                Arm(source.partition(":")[0], MODEL, changes={"data.source": source}, level=at)
                for at, source in enumerate(SOURCES)
            ),
            seeds=(0,),
            search=Search(trials=0),
        )
    },
)
'''


ENGINES = ("inline", "processes")

WITH_EACH = """
import sys
from harness.__main__ import carry_out, cli
engines = sys.argv[1:]
for engine in engines:
    options = ["--scale", "smoke", "--device", "cpu", "--engine", engine]
    sys.argv = ["patchbench", "--results", engine, "run", "every.py", *options]
    if code := carry_out(cli):
        sys.exit(code)
"""


def idx(array: np.ndarray) -> bytes:  # type: ignore[type-arg]
    return struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def sources(tmp_path: Path) -> list[str]:
    """The same images as each kind of source."""
    space: dict[str, object] = {"__file__": "study.py"}
    exec(STUDY.partition("MODEL")[0], space)
    arrays = space["rows"]()  # type: ignore[operator]
    np.savez_compressed(tmp_path / "set.npz", **arrays)
    for folder in ("npy", "own/KMNIST/raw", "photos"):
        (tmp_path / folder).mkdir(parents=True)
    lines = ["path,label,split"]
    for part, stem in (("train", "train"), ("test", "t10k")):
        for name in ("x", "y"):
            np.save(tmp_path / "npy" / f"{name}_{part}.npy", arrays[f"{name}_{part}"])
        labels = arrays[f"y_{part}"].astype(np.uint8)
        (tmp_path / f"own/KMNIST/raw/{stem}-images-idx3-ubyte").write_bytes(idx(arrays[f"x_{part}"]))
        (tmp_path / f"own/KMNIST/raw/{stem}-labels-idx1-ubyte").write_bytes(idx(labels))
        for number, (image, label) in enumerate(zip(arrays[f"x_{part}"], labels, strict=True)):
            path = tmp_path / "photos" / part / str(label) / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
            lines.append(f"{path.relative_to(tmp_path / 'photos')},{label},{part}")
    (tmp_path / "photos" / "table.csv").write_text("\n".join(lines))
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "train").symlink_to(tmp_path / "photos" / "train")
    (tmp_path / "net" / "val").symlink_to(tmp_path / "photos" / "test")
    found = [f"npz:{tmp_path}/set.npz", f"npy:{tmp_path}/npy", f"csv:{tmp_path}/photos/table.csv", "torchvision:KMNIST"]
    found += [f"imagefolder:{tmp_path}/photos", f"imagenet:{tmp_path}/net"]
    return found + ([f"huggingface:{tmp_path}/photos"] if find_spec("datasets") else [])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_source_is_trained_on_by_both_engines(sources: list[str], tmp_path: Path, empty_database: Path) -> None:
    """By one program, for which torch and what reads the sources are loaded once."""
    (tmp_path / "every.py").write_text(STUDY.replace("SOURCES_HERE", repr(sources)))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PATCHBENCH_DATA": str(tmp_path / "own"),
        "PATCHBENCH_CACHE": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "home"),
    }
    for engine in ENGINES:
        (tmp_path / engine).mkdir()
        shutil.copy(empty_database, tmp_path / engine)
    command = [sys.executable, "-c", WITH_EACH, *ENGINES]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tables = [pd.read_csv(tmp_path / engine / "every" / "smoke" / "runs.csv").sort_values("arm") for engine in ENGINES]
    columns = ["arm", "digest", "test_loss", "train_loss"]
    here, apart = (table[columns].reset_index(drop=True) for table in tables)
    pd.testing.assert_frame_equal(here, apart, rtol=0.02)  # with other numbers of threads
    assert set(here["arm"]) == {"python", *(source.partition(":")[0] for source in sources)}
    losses = dict(zip(here["arm"], here["test_loss"], strict=True))
    assert losses["python"] == losses["npz"] == losses["npy"] == losses["torchvision"]  # the same arrays in one order
