"""Records of studies that nobody trained, written by the functions that write real ones."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.execution.plan import make_plan
from harness.execution.progress import CellProgress
from harness.records import provenance
from harness.records.files import sha256
from harness.records.layout import StudyFolder, study_folder
from harness.records.runs import Journal, RunFolder, RunResult
from harness.records.study_file import write_study
from harness.spec import (
    Arm,
    DataSpec,
    LogUniform,
    Recipe,
    ResNetSpec,
    ResolvedStudy,
    Run,
    Search,
    ViTSpec,
)

_EVALUATIONS = 10


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How many of what a study has."""

    arms: int
    """With the baseline."""
    sizes: int
    """Training sizes."""
    seeds: int
    trials: int = 0

    @property
    def runs(self) -> int:
        return self.arms * self.sizes * (self.seeds + self.trials)


def synthetic_study(shape: Shape) -> ResolvedStudy:
    """A study of this shape on scikit-learn's digits."""
    vits = tuple(
        Arm(f"ViT {width}", ViTSpec(patch_size=4, width=width, depth=1, heads=2, pool="mean"), level=width)
        for width in range(16, 16 * shape.arms, 16)
    )
    sizes = tuple(int(size) for size in np.geomspace(100, 1200, shape.sizes)) if shape.sizes > 1 else ()
    return ResolvedStudy(
        name="synthetic",
        scale="smoke",
        question="How does the time grow?",
        source="the bench",
        factor="width",
        data=DataSpec(source="digits"),
        recipe=Recipe(updates=300, batch_size=64, evaluations=_EVALUATIONS, precision="fp32"),
        baseline=Arm("ResNet-8", ResNetSpec(depth=8, width=4)),
        arms=vits,
        train_sizes=sizes,
        seeds=tuple(range(shape.seeds)),
        search=Search(space={"learning_rate": LogUniform(low=1e-4, high=1e-1)}, trials=shape.trials),
    )


def write_study_records(results: Path, shape: Shape, *, images: int) -> Path:
    """Records of every run of a study, each tested on `images` images; returns the study's results folder.

    Accuracies rise with the training size and differ between arms and seeds.
    """
    study = synthetic_study(shape)
    folder, rng = study_folder(study, results), np.random.default_rng(0)
    labels = rng.integers(0, 10, images).astype(np.uint16)
    write_study(StudyFolder(folder).work, study, {"command": "bench", "wall_seconds": 0.0})
    for place, cell in enumerate(make_plan(study).cells):
        accuracy = 0.6 + 0.3 * (cell.data.train_size or 0) / 2000 + 0.01 * (place % 7)
        progress = CellProgress(study, cell, StudyFolder(folder).runs)
        while (run := progress.next_run(())) is not None:
            progress.ended(run, write_run(progress.folder_of(run), run, labels, accuracy + rng.normal(0, 0.01), rng))
    return folder


def write_run(
    folder: RunFolder, run: Run, labels: npt.NDArray[np.uint16], accuracy: float, rng: np.random.Generator
) -> RunResult:
    """The records of one completed run: about `accuracy` of the test `labels` (N,) are predicted right."""
    recipe = run.config.recipe
    assert recipe.updates is not None
    folder.write_config(run)
    journal = Journal(folder.journal_path)
    for step in range(1, _EVALUATIONS + 1):
        update = recipe.updates * step // _EVALUATIONS
        journal.append(
            "evaluated",
            update=update,
            images_seen=update * recipe.batch_size,
            train_loss=2.0 / step,
            validation_loss=2.0 / step,
            validation_accuracy=accuracy * (1 - 0.5 / step + 0.5 / _EVALUATIONS),
            learning_rate=recipe.rate,
            seconds=float(step),
        )
    journal.append("finished", status="completed", reason="")
    journal.close()
    files = {folder.journal_path.name: sha256(folder.journal_path.read_bytes())}
    result = RunResult(
        digest=run.digest,
        status="completed",
        validation_accuracy=accuracy,
        validation_loss=2.0 / _EVALUATIONS,
        train_loss=2.0 / _EVALUATIONS,
        updates=recipe.updates,
        images_seen=recipe.updates * recipe.batch_size,
        params=10_000,
        macs_per_image=1_000_000 + 10_000 * len(run.arm),
        attention_macs_per_image=0,
        train_seconds=10.0,
        train_images_per_second=2000.0,
        eval_images_per_second=9000.0,
        peak_memory_bytes=300_000_000,
        device="cpu",
        precision="fp32",
        code_fingerprint=provenance.code_fingerprint(),
        environment={"threads": 1, **provenance.hardware(), **provenance.git_state()},
    )
    if run.config.phase == "confirm":
        wrong = rng.random(len(labels)) > accuracy
        predicted = np.where(wrong, (labels + 1) % 10, labels).astype(np.uint16)
        files |= folder.write_predictions(labels, predicted)
        result = replace(result, test_accuracy=float((~wrong).mean()), test_loss=0.5)
    result = replace(result, files=files)
    folder.write_result(result)
    return result
