"""How time and memory grow with images, tokens, depth and runs, each with the exponent of its growth.

Every figure comes from a fresh process, whose peak memory is the figure's.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.bench.rows import Row
from harness.bench.settings import Settings
from harness.bench.synthetic import Shape, synthetic_study, write_study_records

_SHAPES = (
    Shape(arms=2, sizes=1, seeds=3, trials=2),
    Shape(arms=5, sizes=4, seeds=3, trials=2),
    Shape(arms=10, sizes=10, seeds=5, trials=5),
    Shape(arms=20, sizes=20, seeds=15, trials=10),
)
"""Studies of 10, 100, 1,000 and 10,000 runs."""

_IMAGES = (1_000, 4_000, 15_000, 60_000)
_PATCHES = {16: 7, 49: 4, 196: 2, 784: 1}
"""Patch sizes (pixels) by the number of tokens that an image of 28 pixels has with them."""
_DEPTHS = (2, 4, 8, 16)

Taken = tuple[float, float]
"""Seconds that a step took, and the process's peak memory before it, MB."""


def measure(settings: Settings) -> list[Row]:
    """Rows for seconds and peak memory at each size, and one for the exponent of each."""
    return [*runs(settings), *images(settings), *tokens(settings), *depth(settings)]


def runs(settings: Settings) -> list[Row]:
    """Planning, storing, resuming, launching and reporting studies of 10 to 10,000 runs; all of them are finished.

    A launch has its mirror in MLflow, which may still lack runs when it ends, and a report in a process of its own.
    """
    shapes = _SHAPES[:2] if settings.quick else _SHAPES
    found: dict[str, dict[int, dict[str, float]]] = {}
    for shape in shapes:
        counts = (shape.arms, shape.sizes, shape.seeds, shape.trials)
        results = str(settings.folder / f"runs-{shape.runs}")
        for step in ("planned", "stored", "resumed", "launched", "reported"):
            found.setdefault(step, {})[shape.runs] = _in_process(step, results, *counts)
    return [row for step, by_runs in found.items() for row in _rows(f"runs {step}", by_runs, unit="runs")]


def images(settings: Settings) -> list[Row]:
    """Before the first update of a training (subset, normalisation, model), and an evaluation, of so many images."""
    sizes = _IMAGES[:2] if settings.quick else _IMAGES
    found = {size: _in_process("prepared", size, settings.most_threads) for size in sizes}
    return _rows("images to train on and to evaluate", found, unit="images")


def tokens(settings: Settings) -> list[Row]:
    """An update of a ViT of width 64 and depth 4 on 28 px, batch 128, at so many tokens per image."""
    sizes = list(_PATCHES)[:2] if settings.quick else list(_PATCHES)
    found = {size: _in_process("updated", _PATCHES[size], 4, settings.most_threads) for size in sizes}
    return _rows("tokens, an update", found, unit="tokens")


def depth(settings: Settings) -> list[Row]:
    """An update of a ViT of width 64 with patches of 4 on 28 px, batch 128, with so many blocks."""
    sizes = _DEPTHS[:2] if settings.quick else _DEPTHS
    found = {size: _in_process("updated", 4, size, settings.most_threads) for size in sizes}
    return _rows("depth, an update", found, unit="blocks")


def exponent(values: Mapping[int, float]) -> float:
    """Slope of log value over log size by least squares: 1 is linear, 2 quadratic, below 1 a fixed cost prevails."""
    sizes = np.log(np.array(list(values), dtype=np.float64))
    logs = np.log(np.maximum(np.array(list(values.values())), 1e-9))
    return float(np.polyfit(sizes, logs, 1)[0])


def _rows(what: str, found: Mapping[int, Mapping[str, float]], *, unit: str) -> list[Row]:
    rows = []
    for size, of_size in found.items():
        at = f"{what}: {size:,} {unit}"
        rows.append(_row(at, of_size["seconds"], "s"))
        rows.append(_row(f"{at}, peak memory", of_size["peak"], "MB", before=round(of_size["peak"] - of_size["grown"])))
    # The largest three: below them fixed costs prevail.
    largest = dict(list(found.items())[-3:])
    for name, measured in (("seconds", "time"), ("grown", "memory beyond what the process began with")):
        slope = exponent({size: of_size[name] for size, of_size in largest.items()})
        told = f"{min(largest):,} to {max(largest):,}"
        rows.append(_row(f"{what}: exponent of {measured}", slope, "", sizes=told))
    return rows


def _row(what: str, value: float, unit: str, **details: str | int) -> Row:
    return Row(part="growth", what=what, contender="patchbench", value=value, unit=unit, details=details)


def _in_process(step: str, *arguments: str | int) -> dict[str, float]:
    """A step in a process of its own: `seconds`, `peak` memory (MB), and by how much the step has `grown` it."""
    code = "import sys; from harness.bench.growth import tell; tell(*sys.argv[1:])"
    command = [sys.executable, "-c", code, step, json.dumps(arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 (our own code)
    if done.returncode:
        raise RuntimeError(f"The step {step}{arguments} of the bench failed: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def tell(step: str, arguments: str) -> None:
    """Carry out a step and print what `_in_process` returns as JSON; all that a process does."""
    seconds, before = _STEPS[step](*json.loads(arguments))
    peak = _peak()
    sys.stdout.write(json.dumps({"seconds": seconds, "peak": peak, "grown": max(peak - before, 0.1)}) + "\n")


def _peak() -> float:
    """The most memory that this process has had so far, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # of this program alone; `getrusage` counts the process that it was forked from, too
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kilobytes; bytes on macOS
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def _planned(results: str, *counts: int) -> Taken:
    from harness.execution.plan import make_plan

    study = _study(counts)
    return _timed(lambda: [cell.confirm(seed, {}).digest for cell in make_plan(study).cells for seed in cell.seeds])


def _stored(results: str, *counts: int) -> Taken:
    shape = Shape(arms=counts[0], sizes=counts[1], seeds=counts[2], trials=counts[3])
    return _timed(lambda: write_study_records(Path(results), shape, images=10_000))


def _resumed(results: str, *counts: int) -> Taken:
    from harness.execution.plan import make_plan
    from harness.execution.progress import open_cells
    from harness.records.layout import study_folder

    study = _study(counts)
    return _timed(lambda: open_cells(study, make_plan(study), study_folder(study, Path(results))))


def _launched(results: str, *counts: int) -> Taken:
    from harness.execution.runner import Options, Silent, run_study

    options = Options(results=Path(results), command="bench")
    return _timed(lambda: run_study(_study(counts), options, Silent()))


def _reported(results: str, *counts: int) -> Taken:
    from harness.execution.results import rebuild
    from harness.records.layout import study_folder

    folder = study_folder(_study(counts), Path(results))
    return _timed(lambda: rebuild(folder, print))


def _study(counts: Sequence[int]) -> Any:
    return synthetic_study(Shape(arms=counts[0], sizes=counts[1], seeds=counts[2], trials=counts[3]))


def _prepared(size: int, threads: int) -> Taken:
    from harness.training.evaluation import evaluate

    make, dataset = _training(size, patch=7, depth=4, threads=threads)
    return _timed(lambda: evaluate(make(), dataset.train))


def _updated(patch: int, depth: int, threads: int) -> Taken:
    """Median seconds of an update."""
    from harness.training.loop import run_updates

    make, _ = _training(1280, patch=patch, depth=depth, threads=threads)
    before, updates = _peak(), run_updates(make())
    seconds = [_timed(lambda: next(updates))[0] for _ in range(8)]
    return float(np.median(seconds[2:])), before


def _training(size: int, *, patch: int, depth: int, threads: int) -> tuple[Callable[[], Any], Any]:
    """What makes a training on `size` images of noise, and these."""
    import torch

    from harness.data import Dataset, Split
    from harness.spec import DataSpec, Recipe, RunConfig, SourceFacts, ViTSpec
    from harness.training.device import choose
    from harness.training.loop import prepare_training

    torch.set_num_threads(threads)
    noise = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (size, 1, 28, 28), dtype=torch.uint8, generator=noise)
    split = Split(images, torch.arange(size) % 10)
    facts = SourceFacts(
        image_size=28, channels=1, classes=10, train_images=size, test_images=size, validation_images=size
    )
    dataset = Dataset(train=split, validation=split, facts=facts, hash="0" * 64, sealed_test=None)
    config = RunConfig(
        phase="tune",
        seed=0,
        model=ViTSpec(patch_size=patch, width=64, depth=depth, heads=4, pool="mean"),
        recipe=Recipe(updates=8, batch_size=128, optimizer="adamw"),
        data=DataSpec(image_size=28, train_size=size, validation_size=size),
        data_hash="0" * 64,
        channels=1,
        classes=10,
    )
    placement = choose("cpu", config.recipe.precision)
    return lambda: prepare_training(config, dataset, placement), dataset


def _timed(work: Callable[[], object]) -> Taken:
    before, began = _peak(), time.perf_counter()
    work()
    return time.perf_counter() - began, before


_STEPS: dict[str, Callable[..., Taken]] = {
    "planned": _planned,
    "stored": _stored,
    "resumed": _resumed,
    "launched": _launched,
    "reported": _reported,
    "prepared": _prepared,
    "updated": _updated,
}
