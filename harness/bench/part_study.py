"""A study of 12 trainings by `patchbench run`, against the same 12 by a shell loop over the usual stack.

Two arms, six seeds each (`twelve_trainings`), no search, equal updates, one evaluation on the same validation images
and one on the test images. Ours is the whole command, with its records, its report and MLflow; theirs starts Python and
loads its libraries for every training and keeps two accuracies.
"""

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness.bench import twelve_trainings
from harness.bench.contest import Contender, Settings, race, rows_of
from harness.bench.rows import Row
from harness.data import load
from harness.training.device import choose

ACCURACIES = "accuracies.jsonl"
OWN, LOOP = "patchbench", "shell loop over the usual stack"


def measure(settings: Settings) -> list[Row]:
    """Wall time of both whole commands; `InvalidInput` where Fashion-MNIST is neither here nor to be fetched."""
    device = settings.device
    rounds, seeds, updates = (1, 1, 3) if settings.quick else (3, 6, 100)
    with tempfile.TemporaryDirectory(prefix="patchbench-bench-") as name:
        folder = Path(name)
        write_arrays(folder / "images.npz")
        own = partial(own_command, folder, seeds, updates, device)
        loop = partial(loop_command, folder, seeds, updates, device)
        raced = [Contender(OWN, own, choose(device).precision, rivals=[LOOP]), Contender(LOOP, loop)]
        times = race(raced, threads=settings.threads[-1:], rounds=rounds, seconds=0.0)
        accuracy = pd.concat(map(pd.read_csv, folder.glob("results*/*/*/runs.csv")))["test_accuracy"].mean()
        loop_accuracy = pd.read_json(folder / ACCURACIES, lines=True)["test"].mean()
    what = f"{2 * seeds} trainings, ViT p7 w64 d4 and ResNet-8 w16, 28 px"
    rows = rows_of(raced, times, part="study", what=what, batch=twelve_trainings.PLAIN.batch_size, unit="s")
    note = f"{updates} updates; mean test accuracy {accuracy:.4f} and {loop_accuracy:.4f}"
    return [replace(row, note=note) for row in rows]


def own_command(folder: Path, seeds: int, updates: int, device: str) -> Callable[[], None]:
    """A function that runs the study into a new folder of results in `folder`."""
    study = ["run", str(twelve_trainings.__file__), "--scale", "laptop", "--device", device, "--quiet"]
    study += [f"recipe.updates={updates}", f"seeds={','.join(map(str, range(seeds)))}"]
    harness = [sys.executable, "-m", "harness", "--results"]
    return lambda: call([*harness, tempfile.mkdtemp(prefix="results", dir=folder), *study])


def loop_command(folder: Path, seeds: int, updates: int, device: str) -> Callable[[], None]:
    """A function that trains both models with each seed by the usual stack, in fp32, without workers."""
    train = [sys.executable, "-m", "harness.bench.usual_stack", "--data", str(folder / "images.npz")]
    train += ["--updates", str(updates), "--device", device]
    each = f'{shlex.join(train)} --model "$model" --seed "$seed" >> {shlex.quote(str(folder / ACCURACIES))}'
    numbers = " ".join(map(str, range(seeds)))
    script = f"set -e; for model in resnet vit; do for seed in {numbers}; do {each}; done; done"
    return partial(call, ["sh", "-c", script])


def call(command: Sequence[str]) -> None:
    """Run a command to its end; raises `RuntimeError` with what it printed where it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 (our own commands)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


def write_arrays(path: Path) -> None:
    """Images and labels of all parts of the study's data, for the usual stack's script."""
    dataset = load(twelve_trainings.LAPTOP.data, phase="confirm")
    arrays: dict[str, Any] = {}
    for part, split in (("train", dataset.train), ("validation", dataset.validation), ("test", dataset.test)):
        images, labels = next(iter(split.chunks(len(split))))
        arrays |= {f"{part}_images": images.numpy(), f"{part}_labels": labels.numpy()}
    np.savez(path, allow_pickle=False, **arrays)
