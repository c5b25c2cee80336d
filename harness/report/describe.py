"""What each figure shows, in words and numbers: the alternative texts of the report."""

from collections.abc import Callable
from typing import Any

from harness.analysis.findings import Findings
from harness.analysis.learning import mean_curve
from harness.records.run_table import StudyRecords
from harness.report.costs import pareto_front, rows_with_cost
from harness.report.curves import UNFINISHED, budget_rows, learning_rows, unfinished_rows
from harness.report.difference_map import frontier_of, mapped_gaps
from harness.report.frames import (
    Row,
    along_size,
    arms_with_results,
    at_size,
    cell_name,
    compared,
    comparisons_with_results,
    gaps_of_series,
    has_partners,
    largest_size,
    rows_of,
    sizes_of,
)
from harness.report.shifts import shift_rows
from harness.spec.formats import (
    count,
    magnitude,
    number,
    percent,
    percent_interval,
    plain,
    points,
    points_interval,
    words,
)
from harness.spec.plural import counted

_MOST = 8
"""More arms than this are summed up by the best and the worst."""


def factor_curve(records: StudyRecords, findings: Findings) -> str:
    """Accuracies by level."""
    rows = arms_with_results(findings)
    return f"Test accuracy by {words(records.study.factor)}, each seed a dot. {_accuracies(rows)}"


def series_curve(records: StudyRecords, findings: Findings) -> str:
    """Accuracies of each series at its first and last level, at the largest training size."""
    study, size = records.study, largest_size(findings)
    rows = {row["arm"]: row for row in arms_with_results(findings, size)}
    texts = []
    for name, arms in study.series.items():
        known = [arm for arm in arms if arm.name in rows]
        if known:
            ends = dict.fromkeys((known[0].name, known[-1].name))
            told = [f"{percent(rows[arm]['mean'])} at {plain(study.arm(arm).level)}" for arm in ends]
            texts.append(f"{name} {' and '.join(told)}")
    outside = [f"{name} {percent(row['mean'])}" for name, row in rows.items() if study.arm(name).series is None]
    where = f" With {count(size)} training images:" if size is not None else ""
    lost = [row for row in rows_of(at_size(findings.arms, size)) if (number(row["diverged"]) or 0) > 0]
    crosses = [f"{row['arm']}, {row['diverged']} of {row['planned']}" for row in lost]
    diverged = f" Diverged: {_several(crosses)}." if crosses else ""
    by_level = f"Test accuracy by {words(study.factor)}, a line per series."
    return f"{by_level}{where} {_several(texts + outside)}.{diverged}"


def gap_by_level(records: StudyRecords, findings: Findings) -> str:
    """Gaps at the first and last level of the largest training size, and crossings."""
    size, texts = largest_size(findings), []
    for gap in gaps_of_series(records, findings):
        rows = gap.at(size) or list(gap.rows)
        told = [f"{_points(row)} at {plain(row['level'])}" for row in (rows[0], rows[-1])]
        texts.append(f"{gap.name} {' and '.join(told)}")
        texts += [str(row["statement"]).rstrip(".") for row in gap.crossings_at(size)]
    where = f" With {count(size)} training images:" if size is not None else ""
    return f"Difference in points by {words(records.study.factor)}.{where} {_several(texts)}."


def difference_map(records: StudyRecords, findings: Findings) -> str:
    """The four corners of each map, and the line of no difference."""
    texts = []
    for gap in mapped_gaps(records, findings):
        corners = {}
        for size in (gap.rows[0]["train_size"], gap.rows[-1]["train_size"]):
            for row in (gap.at(size)[0], gap.at(size)[-1]):
                corners[f"at {plain(row['level'])} and {counted(size, 'image')}"] = points(row["difference"])
        texts.append(f"{gap.name} {', '.join(f'{value} {where}' for where, value in corners.items())}")
        texts += [str(row["statement"]).rstrip(".") for row in frontier_of(gap, findings)]
    factor = words(records.study.factor)
    return f"Map of the difference in points by {factor} and training images. {_several(texts)}."


def accuracy_by_shift(records: StudyRecords, findings: Findings) -> str:
    """Accuracy without and with the largest shift, and agreement there, at the largest training size."""
    rows, size = shift_rows(findings), largest_size(findings)
    rows = [row for row in rows if size in (None, row["train_size"])] or rows
    most = max(row["shift"] for row in rows)
    known = {(row["arm"], row["metric"], row["shift"]): row["mean"] for row in rows}
    texts = [
        f"{arm.name} {percent(known.get((arm.name, 'test_accuracy', 0)))} unmoved, "
        f"{percent(known[arm.name, 'test_accuracy', most])} moved by {most} pixels"
        f" ({percent(known.get((arm.name, 'agreement', most)))} predicted as before)"
        for arm in records.study.all_arms
        if (arm.name, "test_accuracy", most) in known
    ]
    where = f" With {count(size)} training images:" if size is not None else ""
    return f"Test accuracy on images moved by up to {most} pixels.{where} {_several(texts)}."


def differences(records: StudyRecords, findings: Findings) -> str:
    """Differences to the arms compared with."""
    rows = comparisons_with_results(findings, largest_size(findings))
    rows = [row | {"arm": compared(row, records)} for row in rows]
    own = " unless another arm is named" if has_partners(records.study) else ""
    return f"Difference in test accuracy to {records.study.baseline.name}{own}, in points. {_differences(rows)}"


def accuracy_by_macs(_: StudyRecords, findings: Findings) -> str:
    """Accuracy and multiply-accumulates."""
    rows = rows_with_cost(findings, "macs_per_image")
    return "Test accuracy against multiply-accumulates per image. " + _costs(rows, "macs_per_image", -1, magnitude)


def accuracy_by_speed(_: StudyRecords, findings: Findings) -> str:
    """Accuracy and measured speed."""
    rows = rows_with_cost(findings, "train_images_per_second")
    return "Test accuracy against training images per second. " + _costs(rows, "train_images_per_second", 1, count)


def accuracy_by_size(_: StudyRecords, findings: Findings) -> str:
    """Accuracies at the smallest and largest size, and crossovers."""
    sizes = sizes_of(findings)
    ends = dict.fromkeys((sizes[0], sizes[-1]))
    texts = [f"At {counted(size, 'image')}: {_accuracies(arms_with_results(findings, size))}" for size in ends]
    statements = [str(row["statement"]) for row in along_size(findings.crossovers)]
    return " ".join(["Test accuracy by number of training images.", *texts, *statements[:_MOST]])


def gap_by_size(records: StudyRecords, findings: Findings) -> str:
    """Differences at the smallest and largest size."""
    sizes = sizes_of(findings)
    ends = dict.fromkeys((sizes[0], sizes[-1]))
    rows = {size: comparisons_with_results(findings, size) for size in ends}
    named = {size: [row | {"arm": compared(row, records)} for row in of_size] for size, of_size in rows.items()}
    texts = [f"At {counted(size, 'image')}: {_differences(of_size)}" for size, of_size in named.items()]
    own = " unless another arm is named" if has_partners(records.study) else ""
    return " ".join([f"Gap to {records.study.baseline.name}{own} in points by number of training images.", *texts])


def learning_curves(records: StudyRecords, findings: Findings) -> str:
    """Where the learning curves end."""
    curves = learning_rows(records, findings)
    ends = {
        str(arm): float(mean_curve(of_arm, "validation_accuracy").iloc[-1])
        for arm, of_arm in curves.groupby("arm", sort=False)
    }
    listed = [f"{arm} {percent(value)}" for arm, value in sorted(ends.items(), key=lambda end: -end[1])]
    if len(listed) > _MOST:
        listed = [f"from {listed[0]} (highest) to {listed[-1]} (lowest)"]
    seeds = curves.groupby("arm")["seed"].nunique().max()
    return (
        f"Validation accuracy over {counted(curves['update'].max(), 'update')}, up to {counted(seeds, 'seed')} "
        f"per arm. Mean at the end: {'; '.join(listed)}."
    )


def budget_curves(_: StudyRecords, findings: Findings) -> str:
    """The first and last point of each budget curve."""
    budget = budget_rows(findings).sort_values("trials", kind="stable")
    texts = [
        f"{arm} from {percent(rows['expected_best'].iloc[0])} to {percent(rows['expected_best'].iloc[-1])}"
        for arm, rows in budget.groupby("arm", sort=False)
    ]
    more = f" and {counted(len(texts) - _MOST, 'more arm')}" if len(texts) > _MOST else ""
    most = counted(budget["trials"].max(), "trial")
    return f"Expected validation accuracy of the best of 1 to {most}: {'; '.join(texts[:_MOST])}{more}."


def unfinished_runs(_: StudyRecords, findings: Findings) -> str:
    """Counts of runs without a result."""
    texts = []
    for row in unfinished_rows(findings):
        parts = [f"{int(row[status])} {words(status)}" for status in UNFINISHED if (number(row[status]) or 0) > 0]
        texts.append(f"{cell_name(row, findings)}: {', '.join(parts)}")
    more = f"; and {len(texts) - _MOST} more" if len(texts) > _MOST else ""
    return f"Confirm runs without a result. {'; '.join(texts[:_MOST])}{more}."


def _accuracies(rows: list[Row]) -> str:
    def text(row: Row) -> str:
        role = " (baseline)" if row["is_baseline"] else ""
        return f"{row['arm']}{role} {percent_interval(row['mean'], row['ci_low'], row['ci_high'])}"

    over = " (intervals over seeds alone)" if any(number(row["ci_low"]) is not None for row in rows) else ""
    return f"{_listed(rows, 'mean', text).removesuffix('.')}{over}."


def _differences(rows: list[Row]) -> str:
    def text(row: Row) -> str:
        return f"{row['arm']} {_points(row)}"

    return _listed(rows, "difference", text)


def _points(row: Row) -> str:
    return points_interval(row["difference"], row["ci_low"], row["ci_high"])


def _several(texts: list[str]) -> str:
    more = f"; and {len(texts) - _MOST} more" if len(texts) > _MOST else ""
    return f"{'; '.join(texts[:_MOST])}{more}"


def _listed(rows: list[Row], column: str, text: Callable[[Row], str]) -> str:
    if not rows:
        return "No results."
    if len(rows) <= _MOST:
        return "; ".join(text(row) for row in rows) + "."
    ordered = sorted(rows, key=lambda row: float(row[column]))
    return f"{counted(len(rows), 'arm')}, from {text(ordered[0])} (lowest) to {text(ordered[-1])} (highest)."


def _costs(rows: list[Row], column: str, better: int, write: Callable[[Any], str]) -> str:
    front = pareto_front(rows, column, better)
    texts = [f"{row['arm']} {percent(row['mean'])} at {write(row[column])}" for row in front]
    more = f"; and {len(texts) - _MOST} more" if len(texts) > _MOST else ""
    return f"Best accuracy at each cost: {'; '.join(texts[:_MOST])}{more} ({counted(len(rows), 'arm')})."
