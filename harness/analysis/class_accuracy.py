"""Accuracy by class, where a lead lies, and what is taken for what: from the predicted classes, where they are kept."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.analysis.cells import Row
from harness.analysis.estimate import Floats, MeanEstimate, estimate_mean
from harness.analysis.evidence import Evidence, weighted_answers
from harness.analysis.findings import CLASS_COLUMNS, CONFUSION_COLUMNS, ByClass, frame
from harness.analysis.wording import Cell, at_size, compared, listed
from harness.records.correctness import Classes, Correct
from harness.records.data_facts import class_names
from harness.spec.formats import counted, percent, points

MOST = 2 / 3  # of a lead: what the classes that are named together make at least
_MOST_CLASSES = 100  # of more, the main arm and its reference arm alone have a row for each
_MOST_NAMED = 6  # classes, in a sentence
_MOST_PAIRS = 400  # of classes that are taken for each other: those of a set of twenty classes

Runs = Mapping[int, Classes]  # by seed
Parts = Sequence[tuple[float, Mapping[int, Sequence[Correct]]]]
"""Weights, and per seed the answers for each class's images."""


def by_class(evidence: Evidence, asked: Sequence[str], *, conclusive: bool) -> ByClass:
    """Of the arms with the data of the main one, at the largest training size; empty where classes are not kept.

    The main arm is the first of those `asked` for, else the most accurate, that is compared with another one. What is
    said of its lead, `lines`, is left out where nothing is conclusive.
    """
    size, study, against = evidence.sizes[-1], evidence.study, evidence.against
    known = {arm.name: runs for arm in study.all_arms if (runs := _runs(evidence, (arm.name, size)))}
    sources = {arm.name: study.data_of(arm).read_from for arm in study.all_arms}
    ranked = sorted(known, key=lambda arm: -evidence.mean((arm, size), "test_accuracy"))
    fits = (arm for arm in (*asked, *ranked) if arm in known and against.get(arm) in known)
    paired = (arm for arm in fits if evidence.difference(arm, against[arm], size).n)
    main = next((arm for arm in paired if sources[arm] == sources[against[arm]]), None)
    if main is None:
        return ByClass()
    alike = {arm: runs for arm, runs in known.items() if sources[arm] == sources[main]}
    most = max(int(array.max()) for runs in alike.values() for classes in runs.values() for array in classes)
    names = class_names(evidence.records.provenance, sources[main], most + 1)
    pair = main, against[main]
    told = alike if most < _MOST_CLASSES else {arm: alike[arm] for arm in alike if arm in pair}
    rows = _rows(evidence, told, names, size)
    return ByClass(
        arms=pair,
        table=frame(rows, CLASS_COLUMNS),
        confusions=frame(_confusions(evidence, {arm: alike[arm] for arm in pair}, names), CONFUSION_COLUMNS),
        lines=tuple(_lines(evidence, pair, [row for row in rows if row["arm"] == main], size)) if conclusive else (),
    )


def _runs(evidence: Evidence, cell: Cell) -> Runs:
    """The classes of a cell's runs; empty where some are not kept, or have no result."""
    seeds = () if evidence.unfinished(cell) else evidence.completed(cell)
    kept = [evidence.records.classes.get(digest) for digest in evidence.digests(cell, seeds)]
    known = {seed: classes for seed, classes in zip(seeds, kept, strict=True) if classes is not None}
    return known if len(known) == len(seeds) else {}


def _rows(evidence: Evidence, arms: Mapping[str, Runs], names: Sequence[str], size: int | None) -> list[dict[str, Any]]:
    """A row per arm and class that has test images."""
    answers = {arm: {seed: _split(classes, len(names)) for seed, classes in runs.items()} for arm, runs in arms.items()}
    rows = list[dict[str, Any]]()
    for arm in arms:
        other = evidence.against.get(arm, "")
        lead = evidence.difference(arm, other, size) if other in arms else None
        decided = lead is not None and not lead.ci_low <= 0 <= lead.ci_high and math.isfinite(lead.ci_low)
        for label, name in enumerate(names):
            counts = [len(split[label]) for split in answers[arm].values()]
            if not any(counts):
                continue
            own = _estimate(evidence, [(1.0, answers[arm])], label)
            low, high = (float(np.clip(end, 0.0, 1.0)) for end in (own.ci_low, own.ci_high))
            row = {"arm": arm, "baseline": other, "label": label, "class_name": name}
            row |= {"images": round(float(np.mean(counts))), "n": own.n, "mean": own.value, "ci_low": low}
            row |= {"ci_high": high}
            if lead is not None:
                paired = _estimate(evidence, [(1.0, answers[arm]), (-1.0, answers[other])], label)
                row |= {"difference": paired.value, "difference_low": paired.ci_low, "difference_high": paired.ci_high}
                total = float(np.mean([len(classes.labels) for classes in arms[arm].values()]))
                part = float(np.mean(counts)) / total * paired.value
                row |= {"share": part / lead.value if decided else math.nan}
            rows.append(row)
    return rows


def _split(classes: Classes, number: int) -> list[Correct]:
    """The answers for the images of each class."""
    order = np.argsort(classes.labels, kind="stable")
    ends = np.cumsum(np.bincount(classes.labels, minlength=number))
    return np.split(classes.correct[order], ends[:-1])


def _estimate(evidence: Evidence, parts: Parts, label: int) -> MeanEstimate:
    """The weighted sum of accuracies on one class, over the seeds that all have, with its test images."""
    shared = set.intersection(*(set(runs) for _, runs in parts))
    seeds = tuple(sorted(seed for seed in shared if all(len(runs[seed][label]) for _, runs in parts)))
    values = np.zeros(len(seeds))
    for weight, runs in parts:
        values += weight * np.array([runs[seed][label].mean() for seed in seeds], dtype=np.float64)
    return estimate_mean(
        seeds,
        values,
        weighted_answers([(weight, [runs[seed][label] for seed in seeds]) for weight, runs in parts]),
        replicates=evidence.replicates(seeds),
        overlap=evidence.overlap,
        level=evidence.level,
    )


def _confusions(evidence: Evidence, arms: Mapping[str, Runs], names: Sequence[str]) -> list[tuple[Any, ...]]:
    """What is taken for what by the main arm and the one that it is compared with, the most frequent first."""
    main, other = arms
    shares = [_mean_confusion(runs, len(names)) for runs in arms.values()]
    counts = np.mean([np.bincount(of.labels, minlength=len(names)) for of in arms[main].values()], axis=0)
    images = counts[:, None] * (shares[0] + shares[1])
    np.fill_diagonal(images, 0)
    pairs = np.argsort(-images, axis=None, kind="stable")[: min(_MOST_PAIRS, np.count_nonzero(images))]
    found = zip(*np.unravel_index(pairs, images.shape), strict=True)
    return [(main, other, names[i], names[j], shares[0][i, j], shares[1][i, j]) for i, j in found]


def _mean_confusion(runs: Runs, number: int) -> Floats:
    """(K, K) shares of the images of each class that are taken for each class, the mean over runs; 0 without images."""
    found = np.zeros((number, number))
    for labels, predicted in runs.values():
        places: npt.NDArray[np.int64] = labels.astype(np.int64) * number + predicted
        counts = np.bincount(places, minlength=number**2).reshape(number, number)
        found += counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    return found / len(runs)


def _lines(evidence: Evidence, pair: tuple[str, str], rows: Sequence[Row], size: int | None) -> Iterator[str]:
    """Who leads by how much, and which classes make most of that; and the ends of the differences by class."""
    main, other = pair
    rows = [row for row in rows if math.isfinite(row["difference"])]
    parts = sorted(((row["share"], row["class_name"]) for row in rows), key=lambda part: -part[0])
    if not parts or math.isnan(parts[0][0]):
        said = f"{main} and {other} are not significantly apart{at_size(size)}."
    else:
        lead = evidence.difference(main, other, size)
        leader, follower, lead = (main, other, lead) if lead.value > 0 else (other, main, lead.negated())
        sums = np.cumsum([share for share, _ in parts])
        number = int(np.argmax(sums >= min(MOST, sums[-1]))) + 1
        its = f"{percent(sums[number - 1], 0)} of that" if sums[number - 1] < 1 else "all of that, and more,"
        names = [name for _, name in parts[:number]]
        names[_MOST_NAMED:] = [f"{number - _MOST_NAMED} more"] * (number > _MOST_NAMED)
        lies = f"{its} lies in {number} of {counted(len(rows), 'class')}: {listed(names)}"
        if 2 * number > len(rows):
            lies = f"two thirds of it lie in no fewer than {number} of {counted(len(rows), 'class')}"
        by = compared("test_accuracy", lead, ends=("of accuracy", "of accuracy"))
        said = f"{leader} leads {follower} by {by}{at_size(size)}; {lies}."
    ends = sorted((row["difference"], row["class_name"]) for row in rows)
    (least, worst), (greatest, best) = ends[0], ends[-1]
    ranged = f"{points(least, 1)} points ({worst}) to {points(greatest, 1)} ({best})"
    note = f"intervals are not adjusted for there being {counted(len(rows), 'class')}"
    yield said
    yield f"{main} less {other}, by class: from {ranged}; {note}."
