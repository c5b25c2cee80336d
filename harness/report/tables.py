"""The tables of a report, with every number already in words: the page and REPORT.md only set them."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from harness.analysis.findings import Findings
from harness.analysis.laws import law_formula
from harness.records import csv_text
from harness.records.run_table import StudyRecords
from harness.report.cells import Cell, Column, Table, cell
from harness.report.figures.looks import look_of_series, marks
from harness.report.frames import (
    UNLEARNED,
    Row,
    along_factor,
    along_size,
    compared,
    grouped,
    has_partners,
    rows_of,
    shift_rows,
    sizes_of,
)
from harness.spec import Claim, CostGrows, Crosses, GapShrinks
from harness.spec.formats import (
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
    points,
    points_interval,
    points_range,
    words,
)

SYMBOLS = {"reproduced": "✓", "contradicted": "✗", "inconclusive": "?"}
"""Stand before a verdict's word, so that it is told by more than its colour."""


def claims_table(records: StudyRecords, findings: Findings) -> Table:
    """A row per claim: verdict first, then the numbers that decide."""
    rows = []
    for row, claim in zip(rows_of(findings.claims), records.study.claims, strict=True):
        verdict = str(row["verdict"])
        rows.append(
            (
                Cell(str(row["statement"])),
                Cell(f"{SYMBOLS.get(verdict, '?')} {verdict}", verdict=verdict),
                Cell(_estimate(row, claim)),
                Cell(str(row["reason"])),
                Cell(str(row["source"])),
                Cell(claim.conditions or NONE),
            )
        )
    headings = ("Claim", "Verdict", "Estimate [95% interval]", "Reason", "Source", "Conditions of the source")
    return Table(
        "claims",
        "Claims and what this study says about them",
        tuple(Column(heading) for heading in headings),
        tuple(rows),
        csv_text.from_frame(findings.claims),
    )


def _estimate(row: Row, claim: Claim) -> str:
    """The estimate in the unit that the kind of claim has, with its interval where there is one."""
    write, unit = _form(claim)
    estimate, low, high = (write(row[key]) for key in ("estimate", "ci_low", "ci_high"))
    text = estimate if NONE in (estimate, low, high) else f"{estimate} [{low}, {high}]"
    return text if text == NONE else f"{text}{unit}"


def _form(claim: Claim) -> tuple[Callable[[Any], str], str]:
    match claim:
        case Crosses():
            sized = claim.along == "train_size"
            return (count, " training images") if sized else (plain, f" ({words(claim.along)})")
        case CostGrows():
            return (lambda value: NONE if number(value) is None else f"×{plain(value)}"), ""
        case _:
            metric = getattr(claim, "metric", None)
            write, unit = (plain, "") if metric is None else _METRIC_FORMS.get(metric, (magnitude, ""))
            if not isinstance(claim, GapShrinks):
                return write, unit
            sized = claim.along == "train_size"
            return write, f"{unit} {'per 10x training images' if sized else 'from the first level to the last'}"


_METRIC_FORMS: dict[str, tuple[Callable[[Any], str], str]] = {
    "test_accuracy": (points, " points"),
    "validation_accuracy": (points, " points"),
    "shifted_accuracy": (points, " points"),
    "shift_agreement": (points, " points of agreement"),
    "test_loss": (plain, ""),
    "train_seconds": (plain, " s"),
    "peak_memory_bytes": (memory, ""),
    "train_images_per_second": (magnitude, " images/s"),
    "eval_images_per_second": (magnitude, " images/s"),
}


def arms_table(records: StudyRecords, findings: Findings) -> Table:
    """A row per arm (and training size): accuracy, difference to the arm that it is compared with, costs."""
    study = records.study
    looks, sized, paired = marks(study), bool(sizes_of(findings)), has_partners(study)
    differences = {(row["arm"], _size(row)): row for row in rows_of(findings.comparisons)}
    rows = []
    for row in grouped(rows_of(findings.arms), study):
        arm = str(row["arm"])
        role = " (baseline)" if row["is_baseline"] else ""
        mark = f" {UNLEARNED}" if row.get("caution") else ""
        first = [Cell(f"{arm}{role}{mark}", colour=looks[arm].colour)]
        first += [Cell(NONE if role else study.against(study.arm(arm)).name)] if paired else []
        first += [cell(count, row["train_size"])] if sized else []
        against = differences.get((arm, _size(row)), {})
        rows.append((*first, *_accuracy_cells(row, against), *_cost_cells(row)))
    headings = [*(["Training images"] if sized else []), *_ARM_HEADINGS]
    other = "the arm it is set against" if paired else "the baseline"
    per_size = "at each number of training images" if sized else "in the table"
    note = (
        "Test accuracy: its interval is over seeds alone, the test images held fixed. Difference: paired by seed and "
        f"test image, its interval is over both; arm minus {other if paired else 'baseline'}, in percentage points. "
        f"p: paired test, Holm-corrected over the arms {per_size}. Better: probability that the arm is better than "
        f"{other}. MACs: multiply-accumulates of one forward pass. No interval is given below 3 seeds. "
        "Intervals hold for the settings that the search chose: another search may choose others."
    )
    shown = points_range(findings.comparisons["smallest_detectable"])
    if shown:
        note += f" Smallest true difference that these seeds and images show with power .8: {shown} points."
    note += (
        f" {UNLEARNED}: this arm apparently did not learn, or did not finish learning; see Caveats."
        if any(row.get("caution") for row in rows_of(findings.arms))
        else ""
    )
    caption = f"Arms: test accuracy, difference to {other}, and cost"
    names = (Column("Arm"), *((Column("Against"),) if paired else ()))
    columns = (*names, *(Column(heading, numeric=True) for heading in headings))
    return Table("arms", caption, columns, tuple(rows), csv_text.from_frame(findings.arms), note)


_ARM_HEADINGS = (
    "Seeds",
    "Test accuracy [95% over seeds]",
    "Difference [95%]",
    "p (Holm)",
    "Better",
    "Parameters",
    "MACs per image",
    "Training images/s",
    "Eval. images/s",
    "Peak memory",
    "Time per run",
)


def _accuracy_cells(row: Row, against: Row) -> tuple[Cell, ...]:
    difference = [against.get(key) for key in ("difference", "ci_low", "ci_high")]
    return (
        Cell(f"{count(row['n'])} of {count(row['planned'])}", number(row["n"])),
        Cell(percent_interval(row["mean"], row["ci_low"], row["ci_high"]), number(row["mean"])),
        Cell(points_interval(*difference), number(difference[0])),
        cell(p_value, against.get("p_holm")),
        cell(lambda value: NONE if number(value) is None else f"{float(value):.2f}", against.get("probability_better")),
    )


def _cost_cells(row: Row) -> tuple[Cell, ...]:
    return (
        cell(magnitude, row["params"]),
        cell(magnitude, row["macs_per_image"]),
        cell(count, row["train_images_per_second"]),
        cell(count, row["eval_images_per_second"]),
        cell(memory, row["peak_memory_bytes"]),
        cell(duration, row["train_seconds"]),
    )


def sizes_table(records: StudyRecords, findings: Findings) -> Table:
    """Two-factor studies, a row per arm: how the gap changes with data, and where it closes."""
    study, looks = records.study, marks(records.study)
    slopes = {row["arm"]: row for row in along_size(findings.slopes)}
    rows = [
        (
            Cell(compared(row, study), colour=looks[row["arm"]].colour),
            *_crossing_cells(row, slopes.get(row["arm"], {}), count),
        )
        for row in grouped(along_size(findings.crossovers), records.study)
    ]
    columns = (
        Column("Arm"),
        Column("Change of gap per 10x training images, points [95%]", numeric=True),
        Column("Crossover, training images [95%]", numeric=True),
        Column("Resamples that cross", numeric=True),
        Column("In words"),
    )
    return Table(
        "crossovers",
        "How gaps change with training images"
        if has_partners(records.study)
        else f"How the gap to {records.study.baseline.name} changes with training images",
        columns,
        tuple(rows),
        _csv_along(findings.crossovers, "train_size"),
        "A crossover is looked for within the measured range only.",
    )


def levels_table(records: StudyRecords, findings: Findings) -> Table:
    """A row per two series (and training size): how the gap changes over the factor's levels, and where it closes."""
    study, sized = records.study, bool(sizes_of(findings))
    slopes = {(row["arm"], row["baseline"], _size(row)): row for row in along_factor(findings.slopes)}
    rows = []
    for row in along_factor(findings.crossovers):
        first = [Cell(f"{row['arm']} \u2212 {row['baseline']}", colour=look_of_series(study, row["arm"]).colour)]
        first += [cell(count, row["train_size"])] if sized else []
        slope = slopes.get((row["arm"], row["baseline"], _size(row)), {})
        rows.append((*first, *_crossing_cells(row, slope, plain)))
    factor = words(study.factor)
    columns = (
        Column("Series"),
        *((Column("Training images", numeric=True),) if sized else ()),
        Column("Change of gap from the first level to the last, points [95%]", numeric=True),
        Column(f"Crossing, {factor} [95%]", numeric=True),
        Column("Resamples that cross", numeric=True),
        Column("In words"),
    )
    return Table(
        "levels",
        f"How gaps between series change with {factor}",
        columns,
        tuple(rows),
        _csv_along(findings.crossovers, study.factor),
        "A crossing is looked for between the measured levels only.",
    )


def _crossing_cells(row: Row, slope: Row, write: Callable[[Any], str]) -> tuple[Cell, ...]:
    """Change of a gap, where it closes, how many resamples do, and the sentence; `write` sets a place of the axis."""
    middle, share = number(row["median"]), number(row["share"])
    bounds = NONE if number(row["ci_low"]) is None else f"[{write(row['ci_low'])}, {write(row['ci_high'])}]"
    return (
        Cell(points_interval(*(slope.get(key) for key in ("slope", "ci_low", "ci_high"))), number(slope.get("slope"))),
        Cell(NONE if middle is None else f"{write(middle)} {bounds}", middle),
        Cell(percent(share, 0), share),
        Cell(str(row["statement"])),
    )


def _csv_along(crossovers: pd.DataFrame, along: str) -> str:
    """The rows along one axis; without the columns that say so where it is the training size."""
    if "along" not in crossovers:
        return csv_text.from_frame(crossovers)
    rows = crossovers[crossovers["along"] == along]
    return csv_text.from_frame(rows.drop(columns=["along", "train_size"]) if along == "train_size" else rows)


def shifts_table(records: StudyRecords, findings: Findings) -> Table:
    """A row per arm (and training size): accuracy and agreement on images moved by each number of pixels."""
    looks, sized = marks(records.study), bool(sizes_of(findings))
    measured = {(row["arm"], _size(row), row["metric"], int(row["shift"])): row for row in shift_rows(findings)}
    shifts = sorted({shift for *_, shift in measured})
    cells = list(dict.fromkeys((arm, size) for arm, size, *_ in measured))
    order = grouped([{"arm": arm, "train_size": size} for arm, size in cells], records.study)
    rows = []
    for arm, size in [(row["arm"], row["train_size"]) for row in order]:
        found = [
            measured.get((arm, size, metric, shift), {})
            for metric in ("test_accuracy", "agreement")
            for shift in shifts
            if metric == "test_accuracy" or shift > 0  # an unmoved image agrees with itself
        ]
        texts = [percent_interval(row.get("mean"), row.get("ci_low"), row.get("ci_high")) for row in found]
        numbers = (Cell(text, number(row.get("mean"))) for text, row in zip(texts, found, strict=True))
        first = Cell(arm, colour=looks[arm].colour)
        rows.append((first, *([cell(count, size)] if sized else []), *numbers))
    headings = [*(["Training images"] if sized else []), *(f"Test accuracy, {shift} px" for shift in shifts)]
    headings += [f"Agreement, {shift} px" for shift in shifts if shift > 0]
    return Table(
        "shifts",
        "Tests on moved images, with 95% intervals over seeds alone",
        (Column("Arm"), *(Column(heading, numeric=True) for heading in headings)),
        tuple(rows),
        csv_text.from_frame(findings.shifts),
        "Agreement: share of test images with the same prediction as where they are not moved.",
    )


def laws_table(records: StudyRecords, findings: Findings) -> Table:
    """Two-factor studies: the law of each arm through whose errors one could be fitted."""
    looks = marks(records.study)
    laws = [row for row in rows_of(findings.laws) if number(row["a"]) is not None]
    shifted = any(row["d"] for row in laws)
    named = {"a": "a", "b": "b", "c": "c"} | ({"d": "d"} if shifted else {}) | {"r2": "R²"}
    rows = tuple(
        (Cell(str(row["arm"]), colour=looks[row["arm"]].colour), *(cell(plain, row[key]) for key in named))
        for row in laws
    )
    return Table(
        "laws",
        f"Fitted laws: {law_formula(row['d'] for row in laws)}, for n training images",
        (Column("Arm"), *(Column(heading, numeric=True) for heading in named.values())),
        rows,
        csv_text.from_frame(findings.laws),
        "Three numbers fitted to three sizes: R² says nothing here." if len(records.study.train_sizes) == 3 else "",
    )


def _size(row: Row) -> int | None:
    size = number(row.get("train_size"))
    return None if size is None else int(size)
