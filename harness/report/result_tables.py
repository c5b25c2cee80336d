"""The tables of what was found: claims, arms, gaps, shifted images, laws, and the summary of a console."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd

from harness.analysis.findings import Findings
from harness.analysis.laws import law_formula
from harness.analysis.wording import form
from harness.records import csv_text
from harness.records.run_table import StudyRecords
from harness.report.figures.looks import look_of_series, marks
from harness.report.frames import (
    UNLEARNED,
    Row,
    along_factor,
    along_size,
    cell_name,
    compared,
    grouped,
    has_partners,
    rows_of,
    shift_rows,
    size_of,
    sizes_of,
)
from harness.report.table import Cell, Column, Table, interval_column, make_table, number_column, text_column
from harness.spec import Claim, CostGrows, Crosses, GapShrinks, ResolvedStudy
from harness.spec.formats import (
    MINUS,
    NONE,
    count,
    duration,
    magnitude,
    memory,
    number,
    p_value,
    percent,
    percent_interval,
    plain,
    points_interval,
    points_range,
    with_interval,
    words,
)
from harness.spec.plural import counted

SYMBOLS = {"reproduced": "✓", "contradicted": "✗", "inconclusive": "?"}
"""Stand before a verdict's word, so that it is told by more than its colour."""


def claims_table(records: StudyRecords, findings: Findings) -> Table:
    """A row per claim: verdict first, then the numbers that decide."""
    rows = [row | {"of": claim} for row, claim in zip(rows_of(findings.claims), records.study.claims, strict=True)]
    columns = (
        text_column("Claim", "statement"),
        Column("Verdict", lambda row: _verdict(str(row["verdict"]))),
        Column("Estimate [95% interval]", lambda row: Cell(_estimate(row, row["of"]))),
        text_column("Reason", "reason"),
        text_column("Source", "source"),
        Column("Conditions of the source", lambda row: Cell(row["of"].conditions or NONE)),
    )
    caption = "Claims and what this study says about them"
    return make_table("claims", caption, columns, rows, csv=csv_text.from_frame(findings.claims))


def _verdict(verdict: str) -> Cell:
    return Cell(f"{SYMBOLS.get(verdict, '?')} {verdict}", verdict=verdict)


def _estimate(row: Row, claim: Claim) -> str:
    """The estimate in the unit that the kind of claim has, with its interval where there is one."""
    write, unit = _form(claim)
    text = with_interval(*(write(row[key]) for key in ("estimate", "ci_low", "ci_high")))
    return text if text == NONE else f"{text} {unit}".rstrip()


def _form(claim: Claim) -> tuple[Callable[[Any], str], str]:
    write, unit = form(getattr(claim, "metric", None) or "")
    match claim:
        case Crosses(along="train_size"):
            return count, "training images"
        case Crosses():
            return plain, f"({words(claim.along)})"
        case CostGrows():
            return (lambda value: NONE if number(value) is None else f"×{plain(value)}"), ""
        case GapShrinks():
            per = "per 10x training images" if claim.along == "train_size" else "from the first level to the last"
            return write, f"{unit} {per}"
    return write, unit


def arm_column(study: ResolvedStudy, name: Callable[[Row], str] = lambda row: str(row["arm"])) -> Column:
    """The arm, with its colour in the figures."""
    looks = marks(study)
    return Column("Arm", lambda row: Cell(name(row), colour=looks[row["arm"]].colour))


def size_column(findings: Findings) -> Column | None:
    """Training images; None in a study of one size."""
    return number_column("Training images", "train_size", count) if sizes_of(findings) else None


def _compared_arms(findings: Findings) -> list[Row]:
    """The rows of arms, each with its row of comparisons (empty for the baseline) as `against`."""
    against = {(row["arm"], size_of(row)): row for row in rows_of(findings.comparisons)}
    return [row | {"against": against.get((row["arm"], size_of(row)), {})} for row in rows_of(findings.arms)]


def _role(row: Row) -> str:
    """What stands after an arm's name."""
    return f"{' (baseline)' if row['is_baseline'] else ''}{f' {UNLEARNED}' if row.get('caution') else ''}"


def _number_against(heading: str, key: str, write: Callable[[Any], str]) -> Column:
    column = number_column(heading, key, write)
    return Column(heading, lambda row: column.cell(row["against"]), numeric=True)


def _two_digits(value: Any) -> str:
    return NONE if number(value) is None else f"{float(value):.2f}"


_SEEDS = Column("Seeds", lambda row: Cell(f"{count(row['n'])} of {count(row['planned'])}", number(row["n"])), True)
_MACS = number_column("MACs per image", "macs_per_image", magnitude)
_SPEED = number_column("Training images/s", "train_images_per_second", count)
_P = _number_against("p (Holm)", "p_holm", p_value)
_ACCURACY = interval_column("Test accuracy [95% over seeds]", "mean", percent_interval)
_DIFFERENCE = interval_column("Difference [95%]", "difference", points_interval, lambda row: row["against"])


def arms_table(records: StudyRecords, findings: Findings) -> Table:
    """A row per arm (and training size): accuracy, difference to the arm that it is compared with, costs."""
    study = records.study
    other = "the reference arm" if has_partners(study) else "the baseline"

    def against(row: Row) -> Cell:
        return Cell(NONE if row["is_baseline"] else study.against(study.arm(row["arm"])).name)

    columns = (
        arm_column(study, lambda row: f"{row['arm']}{_role(row)}"),
        Column("Reference arm", against) if has_partners(study) else None,
        size_column(findings),
        _SEEDS,
        _ACCURACY,
        _DIFFERENCE,
        _P,
        _number_against("Better", "probability_better", _two_digits),
        number_column("Parameters", "params", magnitude),
        _MACS,
        _SPEED,
        number_column("Eval. images/s", "eval_images_per_second", count),
        number_column("Peak memory", "peak_memory_bytes", memory),
        number_column("Time per run", "train_seconds", duration),
    )
    caption = f"Arms: test accuracy, difference to {other}, and cost"
    rows, csv = grouped(_compared_arms(findings), study), csv_text.from_frame(findings.arms)
    return make_table("arms", caption, columns, rows, csv=csv, note=_arms_note(findings, other))


def _arms_note(findings: Findings, other: str) -> str:
    per_size = "at each number of training images" if sizes_of(findings) else "in the table"
    note = (
        "Test accuracy: its interval is over seeds alone, the test images held fixed. Difference: paired by seed and "
        f"test image, its interval is over both; arm minus {other}, in percentage points. p: paired test, "
        f"Holm-adjusted over the arms {per_size}. Better: probability that the arm is better than {other}. "
        "MACs: multiply-accumulates of one forward pass. No interval is given below 3 seeds. "
        "Intervals hold for the settings that the search chose: another search may choose others."
    )
    if shown := points_range(findings.comparisons["smallest_detectable"]):
        note += f" Smallest true difference that these seeds and images show with power .8: {shown} points."
    if any(row.get("caution") for row in rows_of(findings.arms)):
        note += f" {UNLEARNED}: this arm apparently did not learn, or did not finish learning; see Caveats."
    return note


def summary_table(findings: Findings) -> Table:
    """The few columns of the arms that a console has room for; an arm has its training size in its name."""
    baseline = next((row["arm"] for row in rows_of(findings.arms) if row["is_baseline"]), "")

    def difference(row: Row) -> Cell:
        text, other = _DIFFERENCE.cell(row).text, row["against"].get("baseline", baseline)
        return Cell(text if other == baseline or text == NONE else f"{text} to {other}")

    columns = (
        Column("arm", lambda row: Cell(f"{cell_name(row, findings)}{_role(row)}")),
        Column("seeds", lambda row: Cell(f"{count(row['n'])} of {counted(row['planned'], 'seed')}")),
        Column("test accuracy", _ACCURACY.cell),
        Column("difference", difference),
        Column("p (Holm)", _P.cell),
        Column("MACs", _MACS.cell),
        Column("images/s", _SPEED.cell),
    )
    return make_table("summary", "Arms", columns, _compared_arms(findings))


def sizes_table(records: StudyRecords, findings: Findings) -> Table:
    """Two-factor studies, a row per arm: how the gap changes with data, and where it closes."""
    study = records.study
    slopes = {row["arm"]: row for row in along_size(findings.slopes)}
    columns = (
        arm_column(study, partial(compared, study=study)),
        *_crossing_columns(
            "Change of gap per 10x training images",
            "Crossover, training images",
            count,
            lambda row: slopes.get(row["arm"], {}),
        ),
    )
    gap = "gaps change" if has_partners(study) else f"the gap to {study.baseline.name} changes"
    return make_table(
        "crossovers",
        f"How {gap} with training images",
        columns,
        grouped(along_size(findings.crossovers), study),
        csv=_csv_along(findings.crossovers, "train_size"),
        note="A crossover is looked for within the measured range only.",
    )


def levels_table(records: StudyRecords, findings: Findings) -> Table:
    """A row per two series (and training size): how the gap changes over the factor's levels, and where it closes."""
    study, factor = records.study, words(records.study.factor)
    slopes = {(row["arm"], row["baseline"], size_of(row)): row for row in along_factor(findings.slopes)}

    def series(row: Row) -> Cell:
        return Cell(f"{row['arm']} {MINUS} {row['baseline']}", colour=look_of_series(study, row["arm"]).colour)

    columns = (
        Column("Series", series),
        size_column(findings),
        *_crossing_columns(
            "Change of gap from the first level to the last",
            f"Crossing, {factor}",
            plain,
            lambda row: slopes.get((row["arm"], row["baseline"], size_of(row)), {}),
        ),
    )
    return make_table(
        "levels",
        f"How gaps between series change with {factor}",
        columns,
        along_factor(findings.crossovers),
        csv=_csv_along(findings.crossovers, study.factor),
        note="A crossing is looked for between the measured levels only.",
    )


def _crossing_columns(
    change: str, crossing: str, write: Callable[[Any], str], slope_of: Callable[[Row], Row]
) -> tuple[Column, ...]:
    """Change of a gap, where it closes, how many resamples do, and the sentence; `write` sets a place of the axis."""

    def place(row: Row) -> Cell:
        middle = number(row["median"])
        bounds = NONE if number(row["ci_low"]) is None else f"[{write(row['ci_low'])}, {write(row['ci_high'])}]"
        return Cell(NONE if middle is None else f"{write(middle)} {bounds}", middle)

    return (
        interval_column(f"{change}, points [95%]", "slope", points_interval, slope_of),
        Column(f"{crossing} [95%]", place, numeric=True),
        number_column("Resamples that cross", "share", partial(percent, digits=0)),
        text_column("In words", "statement"),
    )


def _csv_along(crossovers: pd.DataFrame, along: str) -> str:
    """The rows along one axis; without the columns that say so where it is the training size."""
    if "along" not in crossovers:
        return csv_text.from_frame(crossovers)
    rows = crossovers[crossovers["along"] == along]
    return csv_text.from_frame(rows.drop(columns=["along", "train_size"]) if along == "train_size" else rows)


def shifts_table(records: StudyRecords, findings: Findings) -> Table:
    """A row per arm (and training size): accuracy and agreement on images shifted by each number of pixels."""
    measured: dict[tuple[str, Any], Row] = {}
    for row in shift_rows(findings):
        of_arm = measured.setdefault((row["arm"], size_of(row)), {"arm": row["arm"], "train_size": size_of(row)})
        of_arm[f"{row['metric']} {row['shift']}"] = row
    shifts = sorted({int(row["shift"]) for row in shift_rows(findings)})

    def column(heading: str, metric: str, shift: int) -> Column:
        return interval_column(
            f"{heading}, {shift} px", "mean", percent_interval, lambda row: row.get(f"{metric} {shift}", {})
        )

    columns = (
        arm_column(records.study),
        size_column(findings),
        *(column("Test accuracy", "test_accuracy", shift) for shift in shifts),
        *(column("Agreement", "agreement", shift) for shift in shifts if shift),  # at 0 all agree
    )
    return make_table(
        "shifts",
        "Tests on shifted images, with 95% intervals over seeds alone",
        columns,
        grouped(list(measured.values()), records.study),
        csv=csv_text.from_frame(findings.shifts),
        note="Agreement: share of test images with the same prediction as without the shift.",
    )


def laws_table(records: StudyRecords, findings: Findings) -> Table:
    """Two-factor studies: the law of each arm through whose errors one could be fitted."""
    laws = [row for row in rows_of(findings.laws) if number(row["a"]) is not None]
    shift = number_column("d", "d", plain) if any(row["d"] for row in laws) else None
    columns = (
        arm_column(records.study),
        *(number_column(name, name, plain) for name in "abc"),
        shift,
        number_column("R²", "r2", plain),
    )
    note = "Three numbers fitted to three sizes: R² says nothing here." if len(records.study.train_sizes) == 3 else ""
    caption = f"Fitted laws: {law_formula(row['d'] for row in laws)}, for n training images"
    return make_table("laws", caption, columns, laws, csv=csv_text.from_frame(findings.laws), note=note)
