"""The tables of a report, with every number already in words: the page and REPORT.md only set them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.analysis.findings import Findings
from harness.records import csv_text
from harness.records.tables import StudyRecords
from harness.report.formats import (
    NONE,
    count,
    magnitude,
    memory,
    number,
    p_value,
    percent,
    percent_interval,
    plain,
    points,
    points_interval,
    seconds,
    seeds,
    words,
)
from harness.report.frames import Row, along_factor, along_size, compared, grouped, has_partners, rows_of, sizes_of
from harness.report.shifts import shift_rows
from harness.report.style import look_of_series, marks
from harness.spec import Claim, CostGrows, Crosses, GapShrinks

SYMBOLS = {"reproduced": "✓", "contradicted": "✗", "inconclusive": "?"}
"""Stand before a verdict's word, so that it is told by more than its colour."""


@dataclass(frozen=True)
class Cell:
    """A cell's text and, where text does not sort as it should, the number to sort by."""

    text: str
    order: float | None = None
    colour: str = ""
    """Of a swatch before the text: the arm's colour in the figures."""
    verdict: str = ""


@dataclass(frozen=True)
class Column:
    """A column's heading; numbers stand at the right."""

    heading: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    csv: str = ""
    """The same as raw numbers, for download."""
    note: str = ""


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
    headings = ("Claim", "Verdict", "Estimate [95\u00a0% interval]", "Reason", "Source", "Conditions of the source")
    return Table(
        "claims",
        "Published claims and what this study says about them",
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
            write, unit = _METRIC_FORMS.get(claim.metric, (magnitude, ""))
            if not isinstance(claim, GapShrinks):
                return write, unit
            sized = claim.along == "train_size"
            return write, f"{unit} {'per tenfold training images' if sized else 'from the first level to the last'}"


_METRIC_FORMS: dict[str, tuple[Callable[[Any], str], str]] = {
    "test_accuracy": (points, " points"),
    "validation_accuracy": (points, " points"),
    "shifted_accuracy": (points, " points"),
    "shift_agreement": (points, " points"),
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
        first = [Cell(f"{arm}{role}", colour=looks[arm].colour)]
        first += [Cell(NONE if role else study.against(study.arm(arm)).name)] if paired else []
        first += [_cell(count, row["train_size"])] if sized else []
        against = differences.get((arm, _size(row)), {})
        rows.append((*first, *_accuracy_cells(row, against), *_cost_cells(row)))
    headings = [*(["Training images"] if sized else []), *_ARM_HEADINGS]
    other = "the arm it is set against" if paired else "the baseline"
    note = (
        f"Difference: paired by seed, arm minus {other if paired else 'baseline'}, in percentage points. p: paired "
        f"test, Holm-corrected over the table. Better: probability that the arm is better than {other}. MACs: "
        "multiply-accumulates of one forward pass. No interval is given below 3 seeds."
    )
    caption = f"Arms: test accuracy, difference to {other}, and cost"
    names = (Column("Arm"), *((Column("Against"),) if paired else ()))
    columns = (*names, *(Column(heading, numeric=True) for heading in headings))
    return Table("arms", caption, columns, tuple(rows), csv_text.from_frame(findings.arms), note)


_ARM_HEADINGS = (
    "Seeds",
    "Test accuracy [95\u00a0%]",
    "Difference [95\u00a0%]",
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
        Cell(seeds(row["n"], row["planned"]).rpartition(" ")[0], number(row["n"])),
        Cell(percent_interval(row["mean"], row["ci_low"], row["ci_high"]), number(row["mean"])),
        Cell(points_interval(*difference), number(difference[0])),
        _cell(p_value, against.get("p_holm")),
        _cell(
            lambda value: NONE if number(value) is None else f"{float(value):.2f}", against.get("probability_better")
        ),
    )


def _cost_cells(row: Row) -> tuple[Cell, ...]:
    return (
        _cell(magnitude, row["params"]),
        _cell(magnitude, row["macs_per_image"]),
        _cell(count, row["train_images_per_second"]),
        _cell(count, row["eval_images_per_second"]),
        _cell(memory, row["peak_memory_bytes"]),
        _cell(seconds, row["train_seconds"]),
    )


def sizes_table(records: StudyRecords, findings: Findings) -> Table:
    """Two-factor studies, a row per arm: how the gap changes with data, and where it closes."""
    looks = marks(records.study)
    slopes = {row["arm"]: row for row in along_size(findings.slopes)}
    rows = [
        (
            Cell(compared(row, records), colour=looks[row["arm"]].colour),
            *_crossing_cells(row, slopes.get(row["arm"], {}), count),
        )
        for row in grouped(along_size(findings.crossovers), records.study)
    ]
    columns = (
        Column("Arm"),
        Column("Change of gap per tenfold images, points [95\u00a0%]", numeric=True),
        Column("Crossover, training images [95\u00a0%]", numeric=True),
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
        first += [_cell(count, row["train_size"])] if sized else []
        slope = slopes.get((row["arm"], row["baseline"], _size(row)), {})
        rows.append((*first, *_crossing_cells(row, slope, plain)))
    factor = words(study.factor)
    columns = (
        Column("Series"),
        *((Column("Training images", numeric=True),) if sized else ()),
        Column("Change of gap from the first level to the last, points [95\u00a0%]", numeric=True),
        Column(f"Crossing, {factor} [95\u00a0%]", numeric=True),
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
        rows.append((first, *([_cell(count, size)] if sized else []), *numbers))
    headings = [*(["Training images"] if sized else []), *(f"Test accuracy, {shift} px" for shift in shifts)]
    headings += [f"Agreement, {shift} px" for shift in shifts if shift > 0]
    return Table(
        "shifts",
        "Tests on moved images, with 95\u00a0% intervals",
        (Column("Arm"), *(Column(heading, numeric=True) for heading in headings)),
        tuple(rows),
        csv_text.from_frame(findings.shifts),
        "Agreement: share of test images with the same prediction as where they are not moved.",
    )


def laws_table(records: StudyRecords, findings: Findings) -> Table:
    """Two-factor studies: the fitted law of each arm."""
    looks = marks(records.study)
    rows = tuple(
        (
            Cell(str(row["arm"]), colour=looks[row["arm"]].colour),
            *(_cell(plain, row[key]) for key in ("a", "b", "c", "r2")),
        )
        for row in rows_of(findings.laws)
    )
    columns = (Column("Arm"), *(Column(heading, numeric=True) for heading in ("a", "b", "c", "R²")))
    caption = "Fitted laws: error = a · n^−b + c, for n training images"
    return Table("laws", caption, columns, rows, csv_text.from_frame(findings.laws))


def audit_table(records: StudyRecords, findings: Findings) -> Table:
    """Tuning per arm: what was spent, what was chosen, and how near to the edge of its range."""
    looks, sized = marks(records.study), bool(sizes_of(findings))
    chosen = [str(name) for name in findings.audit.columns if str(name).startswith("p.")]
    pruned = bool((findings.audit["spared"] > 0).any())
    rows = []
    for row in rows_of(findings.audit):
        size = [_cell(count, row["train_size"])] if sized else []
        rows.append(
            (
                Cell(str(row["arm"]), colour=looks[row["arm"]].colour),
                *size,
                _cell(count, row["trials"]),
                _cell(count, row["completed"]),
                _cell(count, row["images"]),
                *([_cell(count, row["spared"])] if pruned else []),
                _cell(percent, row["best_validation_accuracy"]),
                *(_chosen(row, name) for name in chosen),
                Cell(_text(row["at_edge"]) or "none"),
            )
        )
    headings = [
        "Trials",
        "Completed",
        "Images seen",
        *(["Images spared"] if pruned else []),
        "Best validation accuracy",
    ]
    headings += [f"Chosen {words(name.removeprefix('p.'))} (to edge)" for name in chosen]
    columns = (
        Column("Arm"),
        *(Column(heading, numeric=True) for heading in (["Training images"] if sized else []) + headings),
        Column("On the edge of its range"),
    )
    note = "To edge: distance of the chosen value to the nearer end of its range, as a share of the range's width."
    if pruned:
        note += " Images spared: what pruned trials did not see of their planned training images."
    return Table(
        "tuning",
        "Tuning audit: the same for every arm",
        columns,
        tuple(rows),
        csv_text.from_frame(findings.audit),
        note,
    )


def _chosen(row: Row, name: str) -> Cell:
    value = row[name]
    edge = number(row.get(f"edge.{name.removeprefix('p.')}"))
    text = _text(value) if isinstance(value, str | bool) else plain(value)
    return Cell(text if edge is None else f"{text} ({percent(edge, 0)})", number(value))


def unfinished_table(records: StudyRecords, findings: Findings) -> Table:
    """Planned runs without a result, by how they ended."""
    looks, sized = marks(records.study), bool(sizes_of(findings))
    statuses = ("diverged", "out_of_memory", "failed", "missing")
    rows = [
        (
            Cell(str(row["arm"]), colour=looks[row["arm"]].colour),
            *([_cell(count, row["train_size"])] if sized else []),
            _cell(count, row["planned"]),
            *(_cell(count, row[status]) for status in statuses),
        )
        for row in rows_of(findings.arms)
        if any((number(row[status]) or 0) > 0 for status in statuses)
    ]
    headings = [
        *(["Training images"] if sized else []),
        "Planned",
        *(words(status).capitalize() for status in statuses),
    ]
    columns = (Column("Arm"), *(Column(heading, numeric=True) for heading in headings))
    return Table("unfinished", "Confirm runs without a result", columns, tuple(rows))


_PROVENANCE = {
    "created": "Created",
    "patchbench_version": "patchbench",
    "git_revision": "Git revision",
    "data_source": "Data",
    "data_hash": "Data, SHA-256",
    "code_fingerprint": "Training code, fingerprint",
    "precision": "Precision",
    "device": "Device",
    "cpu": "CPU",
    "cores": "Cores",
    "threads": "Threads",
    "platform": "Platform",
    "python": "Python",
    "torch": "torch",
    "numpy": "numpy",
    "wall_seconds": "Wall time",
}


def provenance_table(records: StudyRecords) -> Table:
    """Where the numbers come from: what of it is known."""
    known = records.provenance
    rows = []
    for key, heading in _PROVENANCE.items():
        text = seconds(known.get(key)) if key == "wall_seconds" else _text(known.get(key))
        if text in ("", NONE):
            continue
        if key == "git_revision" and known.get("git_dirty"):
            text += " (with uncommitted changes)"
        rows.append((Cell(heading), Cell(text)))
    return Table("provenance", "What the results were made with", (Column("What"), Column("Value")), tuple(rows))


def linked(text: str) -> list[tuple[str, str]]:
    """Pieces of a text with the address of each arXiv number (empty for other pieces)."""
    pieces = re.split(r"\b(\d{4}\.\d{4,5})\b", text)
    return [(piece, f"https://arxiv.org/abs/{piece}" if i % 2 else "") for i, piece in enumerate(pieces) if piece]


def _cell(write: Callable[[Any], str], value: Any) -> Cell:
    return Cell(write(value), number(value))


def _size(row: Row) -> int | None:
    size = number(row.get("train_size"))
    return None if size is None else int(size)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in sorted(value.items()))
    return "" if value is None or pd.isna(value) else str(value)
