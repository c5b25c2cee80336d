"""The tables of what changes along an axis: crossings, slopes on three scales, and the frontier of two series."""

import math

import pandas as pd

from harness.analysis.axis import crossing, level_axis, series_pairs, size_axis, slope, statement
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
