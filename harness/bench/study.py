"""A study of 12 trainings by `patchbench run`, against the same 12 by a shell loop over the usual stack.

Two arms, six seeds each, no search, equal updates, one evaluation on the same validation images and one on the test
images. Ours is the whole command, with its records, its report and MLflow; theirs starts Python and loads its libraries
for every training and keeps two accuracies.
"""

import csv
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from string import Template

import numpy as np
import numpy.typing as npt

from harness.bench.data import has_fashion_mnist
from harness.bench.ratios import ratio
from harness.bench.rows import Row
from harness.bench.settings import Settings
from harness.data import Dataset, load
from harness.records.files import write_text
from harness.spec import DataSpec
from harness.training.device import choose

OWN, LOOP = "patchbench", "shell loop over the usual stack"
SEEDS = 6
UPDATES, QUICK_UPDATES = 100, 3
VALIDATION = 1000
ROUNDS = 3

STUDY = Template('''"""Which is faster, the harness or a shell loop? (two arms, $seeds seeds)"""

from harness.spec import Arm, Augmentation, DataSpec, Recipe, ResNetSpec, Scale, Search, Study, ViTSpec

STUDY = Study(
    question="Which is faster, the harness or a shell loop?",
    source="the bench",
    factor="model",
    scales={
        "laptop": Scale(
            data=DataSpec(source="$source", image_size=28, validation_size=$validation),
            recipe=Recipe(
                updates=$updates,
                batch_size=128,
                optimizer="adamw",
                learning_rate=1e-3,
                schedule="constant",
                warmup=0.0,
                clip_norm=None,
                evaluations=1,
                augmentation=Augmentation(shift=2, flip=True),
            ),
            baseline=Arm("ResNet-8", ResNetSpec(depth=8, width=16)),
            arms=(Arm("ViT/7", ViTSpec(patch_size=7, width=64, depth=4, heads=4, mlp_ratio=2.0, pool="mean")),),
            seeds=tuple(range($seeds)),
            search=Search(trials=0),
        )
    },
)
''')


def measure(settings: Settings) -> list[Row]:
    """Wall time of both whole commands, one after the other, in rounds."""
    source = "fashion_mnist" if has_fashion_mnist() else "digits"
    seeds, updates, rounds = (1, QUICK_UPDATES, 1) if settings.quick else (SEEDS, UPDATES, ROUNDS)
    data = DataSpec(source=source, image_size=28, validation_size=VALIDATION if source == "fashion_mnist" else None)
    arrays, study = settings.folder / "images.npz", settings.folder / "bench_study.py"
    _write_arrays(load(data, phase="confirm"), arrays)
    write_text(study, STUDY.substitute(source=source, seeds=seeds, updates=updates, validation=data.validation_size))
    loop = settings.folder / "loop.sh"
    write_text(loop, shell_loop(arrays, seeds=seeds, updates=updates))
    own, usual = [], []
    for number in range(rounds):
        settings.say(f"  round {number + 1} of {rounds}")
        results = settings.folder / f"results{number}"
        command = [sys.executable, "-m", "harness", "--results", str(results), "run", str(study)]
        own.append(_timed([*command, "--scale", "laptop", "--quiet"])[0])
        reached = _accuracy_of_study(results / study.stem / "laptop")
        seconds, printed = _timed(["sh", str(loop)])
        usual.append(seconds)
        reached_by_loop = [json.loads(line)["test"] for line in printed.splitlines()]
    what = f"{2 * seeds} trainings, ViT p7 w64 d4 and ResNet-8 w16, 28 px"
    details: dict[str, str | int | float] = {"updates": updates, "images": source, "rounds": rounds}
    to_loop = ratio(own, usual, to=LOOP, precision="fp32", generator=np.random.default_rng(0))
    accuracies = {OWN: reached, LOOP: reached_by_loop}
    return [
        Row(
            part="study",
            what=what,
            contender=name,
            value=float(np.median(seconds)),
            best=min(seconds),
            unit="s",
            threads=settings.most_threads,
            precision=precision,
            batch=128,
            ratios=(to_loop,) if name == OWN else (),
            details={**details, "mean_test_accuracy": round(float(np.mean(accuracies[name])), 4)},
        )
        for name, precision, seconds in ((OWN, choose("auto").precision, own), (LOOP, "fp32", usual))
    ]


def shell_loop(arrays: Path, *, seeds: int, updates: int) -> str:
    """A shell script that trains both models with each seed by the usual stack, in fp32, without workers."""
    train = shlex.join([sys.executable, "-m", "harness.bench.usual_stack", "--data", str(arrays)])
    numbers = " ".join(map(str, range(seeds)))
    return (
        "set -e\nfor model in resnet vit; do\n"
        f"  for seed in {numbers}; do\n"
        f'    {train} --model "$model" --seed "$seed" --updates {updates}\n'
        "  done\ndone\n"
    )


def _write_arrays(dataset: Dataset, path: Path) -> None:
    """Images and labels of all splits for the usual stack's script."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    for part in ("train", "validation", "test"):
        split = getattr(dataset, part)
        images, labels = next(iter(split.chunks(len(split))))
        arrays |= {f"{part}_images": images.numpy(), f"{part}_labels": labels.numpy()}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _accuracy_of_study(folder: Path) -> list[float]:
    """Test accuracy of every run."""
    with (folder / "runs.csv").open(encoding="utf-8", newline="") as file:
        return [float(row["test_accuracy"]) for row in csv.DictReader(file)]


def _timed(command: list[str]) -> tuple[float, str]:
    """Wall time of a command, and what it printed; a failure is a defect, and tells what was printed."""
    began = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 (our own commands)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return seconds, done.stdout
