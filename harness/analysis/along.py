"""The tables of what changes along an axis: crossings, slopes on three scales, and the frontier of two series."""

import math
from collections.abc import Iterator

import pandas as pd

from harness.analysis.axis import crossing, level_axis, series_pairs, size_axis, slope, statement
from harness.analysis.cells import FEW_SHOT
from harness.analysis.evidence import Evidence
from harness.analysis.findings import CROSSOVER_COLUMNS, FRONTIER_COLUMNS, SLOPE_COLUMNS, frame
from harness.analysis.scales import on_scales
from harness.spec import Estimate


def tables_along(evidence: Evidence) -> tuple[pd.DataFrame, pd.DataFrame]:
    """CROSSOVER_COLUMNS and SLOPE_COLUMNS, a row of each per arm over the sizes, and per pair of series and size."""
    study, crossovers, slopes = evidence.study, [], []
    axes = [size_axis(study, *pair) for pair in evidence.against.items()] if study.train_sizes else []
    axes += [level_axis(study, *pair, size) for pair in series_pairs(study) for size in evidence.sizes]
    for axis in axes:
        found, change = crossing(evidence, axis), slope(evidence, axis)
        names = (axis.arm, axis.other, axis.along, None if axis.sized else evidence.train_size(axis.cells[0]))
        ends = (axis.points[0], axis.points[-1])
        crossovers.append((*names, found.place, found.ci_low, found.ci_high, *ends, statement(found)))
        scales = on_scales(evidence, axis)
        changes = (change, *(scale.change for scale in scales), *[Estimate(math.nan)] * (2 - len(scales)))
        numbers = [number for each in changes for number in (each.value, each.ci_low, each.ci_high)]
        slopes.append((*names, *numbers, "; ".join(scale.in_words(axis) for scale in scales)))
    return frame(crossovers, CROSSOVER_COLUMNS), frame(slopes, SLOPE_COLUMNS)


def frontier_table(evidence: Evidence) -> pd.DataFrame:
    """FRONTIER_COLUMNS: the crossing along the training size of each pair of arms at a level that two series share."""
    study, rows = evidence.study, []
    for arm, other in series_pairs(study) if len(study.train_sizes) > 1 else ():
        levels = level_axis(study, arm, other, None)
        for level, ((one, _), (two, _)) in zip(levels.points, levels.pairs, strict=True):
            found = crossing(evidence, size_axis(study, one, two))
            rows.append((arm, other, level, found.place, found.ci_low, found.ci_high, statement(found)))
    return frame(rows, FRONTIER_COLUMNS)


def crossings_on_both_tasks(evidence: Evidence) -> Iterator[str]:
    """Whether few-shot accuracy on another task crosses where the accuracy on the task trained on does, per arm."""
    study = evidence.study
    for pair in evidence.against.items() if study.few_shot is not None and len(study.train_sizes) > 1 else ():
        axis = size_axis(study, *pair)
        few, own = crossing(evidence, axis, FEW_SHOT), crossing(evidence, axis)
        told = f"Few-shot: {statement(few)} On the task that was trained on: {statement(own)}"
        if few.trouble or own.trouble:
            yield told
        elif few.shown and own.shown:
            places = [(_end(of.ci_low, -math.inf), _end(of.ci_high, math.inf)) for of in (few, own)]
            apart = max(low for low, _ in places) > min(high for _, high in places)
            yield f"{told} Both cross, and the intervals {'do not overlap' if apart else 'overlap'}."
        elif few.shown or own.shown:
            yield f"{told} Only the {'few-shot' if few.shown else 'other'} curves are shown to cross."
        else:
            yield f"{told} On neither task are the curves shown to cross."


def _end(bound: float, beyond: float) -> float:
    """The end of a crossing's interval, which may lie beyond the measured range."""
    return bound if math.isfinite(bound) else beyond
