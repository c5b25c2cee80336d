"""Simulated studies whose accuracy on each class is planted exactly, but for the seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from simulate import records

from harness.records.correctness import Classes
from harness.records.run_table import StudyRecords
from harness.spec import ResolvedStudy


def with_classes(
    of: ResolvedStudy, accuracies: Mapping[str, Sequence[float]], images: Sequence[int], *, jitter: float = 0.0
) -> StudyRecords:
    """Runs that are right on the first images of each class, as many as an arm's accuracy on it asks for.

    What is wrong is taken for the next class, and is among the five likeliest where its place in its class is even.
    `jitter`: by how much the accuracy on the first class rises from seed to seed.
    """
    labels = np.repeat(np.arange(len(images), dtype=np.uint16), images)
    place = np.concatenate([np.arange(number) for number in images])
    classes, top5 = dict[str, Classes](), {}

    def measured(row: dict[str, Any]) -> dict[str, Any]:
        shares = np.array(accuracies[row["arm"]], dtype=np.float64)
        shares[0] += jitter * row["seed"]
        right = place < np.round(shares * images)[labels]
        found = Classes(labels, np.where(right, labels, (labels + 1) % len(images)).astype(np.uint16))
        classes[row["digest"]], top5[row["digest"]] = found, right | (place % 2 == 0)
        own = {"test_accuracy": right.mean(), "balanced_accuracy": found.balanced_accuracy}
        return row | own | {"top5_accuracy": top5[row["digest"]].mean()}

    kept = records(of, lambda arm, size: 0.5, changes=measured)
    return replace(kept, correct={name: pair.correct for name, pair in classes.items()}, classes=classes, top5=top5)
