"""Means and intervals of tests on moved images."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from simulate import records, study, without_accuracy

from harness.analysis import analyse
from harness.analysis.assemble import shifts_table
from harness.analysis.evidence import evidence_of
from harness.analysis.findings import SHIFT_COLUMNS
from harness.records.run_table import SHIFT_COLUMNS as MEASURED
from harness.records.run_table import with_columns


def measured(kept, shifts=(0, 2)):
    """`kept` with tests of every run: accuracy falls by 1 point per pixel, agreement by 2, both more with the seed."""
    rows = [
        {
            "arm": run["arm"],
            "train_size": run["train_size"],
            "seed": run["seed"],
            "shift": shift,
            "test_accuracy": 0.9 - 0.01 * shift - 0.001 * run["seed"] * shift,
            "agreement": 1 - 0.02 * shift - 0.002 * run["seed"] * shift,
            "digest": run["digest"],
        }
        for run in kept.runs.to_dict("records")
        for shift in shifts
    ]
    return replace(kept, shifts=with_columns(rows, MEASURED))


def row_of(table, arm, shift, metric, size=55_000):
    found = table[(table["arm"] == arm) & (table["shift"] == shift) & (table["metric"] == metric)]
    (row,) = found[found["train_size"] == size].to_dict("records")
    return row


def test_means_and_student_intervals():
    kept = measured(records(study(seeds=5), lambda arm, size: 0.8))
    table = shifts_table(evidence_of(kept))
    assert list(table.columns) == list(SHIFT_COLUMNS)
    assert len(table) == 3 * 2 * 2
    row = row_of(table, "ViT/7", 2, "agreement")
    values = [1 - 0.04 - 0.004 * seed for seed in range(5)]
    assert row["n"] == 5
    assert row["mean"] == pytest.approx(np.mean(values))
    half = stats.t.ppf(0.975, 4) * np.std(values, ddof=1) / np.sqrt(5)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((np.mean(values) - half, np.mean(values) + half))
    assert row_of(table, "ResNet-8", 0, "agreement")["mean"] == 1.0


def test_only_completed_planned_runs_count():
    def diverged(row):
        return without_accuracy(row, "diverged") if (row["arm"], row["seed"]) == ("ViT/7", 0) else row

    kept = measured(records(study(seeds=3), lambda arm, size: 0.8, changes=diverged))
    fewer = replace(kept, study=study({"ViT/7": 7.0}, seeds=3))
    table = shifts_table(evidence_of(fewer))
    assert set(table["arm"]) == {"ResNet-8", "ViT/7"}
    row = row_of(table, "ViT/7", 2, "test_accuracy")
    assert row["n"] == 2
    assert row["mean"] == pytest.approx(0.88 - 0.003)
    assert np.isnan(row["ci_low"])  # two seeds give no interval
    assert row_of(table, "ResNet-8", 2, "test_accuracy")["n"] == 3


def test_each_training_size_has_its_own_rows():
    kept = measured(records(study(seeds=3, sizes=(500, 2_000)), lambda arm, size: 0.8))
    low = kept.shifts["test_accuracy"].where(kept.shifts["train_size"] == 500, kept.shifts["test_accuracy"] + 0.05)
    table = shifts_table(evidence_of(replace(kept, shifts=kept.shifts.assign(test_accuracy=low))))
    small, large = (row_of(table, "ViT/7", 0, "test_accuracy", size)["mean"] for size in (500, 2_000))
    assert large - small == pytest.approx(0.05)


def test_a_study_without_these_tests_has_no_rows():
    kept = records(study(seeds=3), lambda arm, size: 0.8)
    assert shifts_table(evidence_of(kept)).empty
    assert list(analyse(kept).shifts.columns) == list(SHIFT_COLUMNS)


def test_analysis_holds_the_table():
    kept = measured(records(study(seeds=3), lambda arm, size: 0.8))
    assert len(analyse(kept).shifts) == 12
