"""Test accuracy with patches of one size: of models trained for it alone, and of those trained for several sizes."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from harness.analysis.findings import PATCH_COLUMNS, frame
from harness.records.correctness import Correct
from harness.records.run_table import StudyRecords
from harness.spec import Arm, ResolvedStudy, ViTSpec

if TYPE_CHECKING:
    from harness.analysis.evidence import Evidence

_PREFIX, _SUFFIX = "test_accuracy at ", " px"


def at_patches(size: int) -> str:
    """The metric: test accuracy with patches of this side, pixels."""
    return f"{_PREFIX}{size}{_SUFFIX}"


def patch_size_of(metric: str) -> int | None:
    """The side of the patches that a metric is of; None of other metrics."""
    return int(metric.removeprefix(_PREFIX).removesuffix(_SUFFIX)) if metric.startswith(_PREFIX) else None


def flexible_patches(arm: Arm) -> tuple[int, ...]:
    """The sizes of patches that the model of an arm is trained for, ascending; none of models for one size."""
    return tuple(sorted(arm.model.flexible_patches)) if isinstance(arm.model, ViTSpec) else ()


def with_patch_tests(records: StudyRecords) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """A row of `runs` with its accuracies at sizes of patches: those tested, or that of the model's one size."""
    study, tested = records.study, dict[str, dict[str, float]]()
    for row in records.patches.to_dict("records"):
        tested.setdefault(row["digest"], {})[at_patches(row["patch_size"])] = row["test_accuracy"]
    is_asked = any(map(flexible_patches, study.all_arms))

    def completed(row: Mapping[str, Any]) -> dict[str, Any]:
        arm = study.arm(str(row["arm"]))
        if not is_asked or not isinstance(arm.model, ViTSpec):
            return dict(row)
        own = {} if flexible_patches(arm) else {at_patches(arm.model.patch_size): row["test_accuracy"]}
        return dict(row) | own | tested.get(str(row["digest"]), {})

    return completed


def correct_at(records: StudyRecords, arm: Arm, digests: Iterable[str], size: int) -> list[Correct | None]:
    """Of each run of an arm, whether it was right on each test image with patches of this side; None if not kept."""
    if flexible_patches(arm):
        return [records.at_patches.get((digest, size)) for digest in digests]
    return [records.correct.get(digest) for digest in digests]


def mean_cost(records: StudyRecords, arm: Arm) -> float:
    """What an image costs in training, over all sizes of patches, as a multiple of the cost at the model's own."""
    of_arm = records.patches[records.patches["arm"] == arm.name].drop_duplicates("patch_size")
    if not flexible_patches(arm) or of_arm.empty:
        return 1.0
    macs = of_arm.set_index("patch_size")["macs_per_image"].astype(float)
    assert isinstance(arm.model, ViTSpec)
    return float(macs.mean() / macs[arm.model.patch_size])


def trained_for(study: ResolvedStudy, arm: Arm, size: int) -> Arm | None:
    """The arm whose model differs from a flexible one's in that it is for patches of this side alone, if any does."""
    assert isinstance(arm.model, ViTSpec)
    wanted = replace(arm.model, patch_size=size, flexible_patches=())
    made = {name: arm.changed(name, getattr(study, name)) for name in ("recipe", "data")}
    for other in study.all_arms:
        if other.model == wanted and made == {name: other.changed(name, getattr(study, name)) for name in made}:
            return other
    return None


def patches_table(evidence: "Evidence") -> pd.DataFrame:
    """PATCH_COLUMNS of flexible arms: no rows where a study has none."""
    rows, costs = [], evidence.records.patches.drop_duplicates(["arm", "patch_size"])
    macs = {(row["arm"], row["patch_size"]): row["macs_per_image"] for row in costs.to_dict("records")}
    for cell in evidence.rows:
        arm = evidence.study.arm(cell[0])
        for size in flexible_patches(arm):
            metric, alone = at_patches(size), trained_for(evidence.study, arm, size)
            names = {"arm": arm.name, "train_size": evidence.train_size(cell), "patch_size": size}
            found, cost = evidence.contrast({cell: 1.0}, metric), macs.get((arm.name, size))
            row = names | {"macs_per_image": cost, "n": found.n, "mean": found.value}
            row |= {"ci_low": found.ci_low, "ci_high": found.ci_high, "alone": alone.name if alone else ""}
            if alone is not None:
                lead = evidence.difference(arm.name, alone.name, cell[1], metric)
                row |= {"alone_mean": evidence.mean((alone.name, cell[1]), metric), "difference": lead.value}
                row |= {"difference_low": lead.ci_low, "difference_high": lead.ci_high}
            rows.append(row)
    return frame(rows, PATCH_COLUMNS)
