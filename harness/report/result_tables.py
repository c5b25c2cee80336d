"""The tables of what was found: claims, arms, gaps, shifted images, laws, and the summary of a console."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd

from harness.analysis.learning import law_formula
from harness.analysis.limits import CLEAR_GAP
from harness.analysis.wording import form
from harness.report.table import NO_VERDICT, Cell, Column, Table, make_table, number_column, text_column, text_of
from harness.report.view import Row, View, accuracy, difference, rows_of, size_of
from harness.spec import Claim, CostGrows, Crosses, GapShrinks, formats
from harness.spec.formats import (
    MINUS,
    NONE,
    count,
    counted,
    magnitude,
    number,
    percent,
    plain,
    points,
    points_interval,
    words,
)
from harness.spec.verdicts import SYMBOLS

_AT_EQUAL_COMPUTE = "difference_at_equal_compute"  # a column of the comparisons

_LEVEL = " *"  # stands after an arm that may be the best
_UNLEARNED = "†"  # stands after an arm that apparently did not learn


def claims_table(
    view: View, name: str = "claims", caption: str = "Claims and what this study says about them"
) -> Table:
    """A row per claim: verdict first, then the numbers that decide."""
    frame, claims = view.findings.claims, view.study.claims
    rows = [row | {"of": claim} for row, claim in zip(rows_of(frame), claims, strict=True)]
    columns = (
        text_column("Claim", "statement"),
        Column("Verdict", lambda row: _verdict(row["verdict"], view.findings.conclusive)),
        text_column("Kind", "kind"),
        Column(f"Estimate [{view.level} interval]", lambda row: Cell(_estimate(row, row["of"]))),
        text_column("Reason", "reason", folded=True),
        text_column("Source", "source", folded=True),
        Column("Conditions of the source", lambda row: Cell(row["of"].conditions or NONE), folded=True),
    )
    return make_table(name, caption, columns, rows, frame=frame, note=_CLAIMS_NOTE if rows else "")


def _verdict(verdict: str, conclusive: bool) -> Cell:
    """A verdict in its colour; one from which nothing is to be concluded in none."""
    return Cell(f"{SYMBOLS[verdict]} {verdict}", verdict=verdict if conclusive else NO_VERDICT)


_CLAIMS_NOTE = (
    "Kind: a paper's finding, which is reproduced or contradicted; a hypothesis of this study's own, which is "
    "supported or not; arithmetic, which the models alone decide."
)


def _estimate(row: Row, claim: Claim) -> str:
    """The estimate in the unit that the type of claim has, with its interval where there is one."""
    write, unit = form(getattr(claim, "metric", None) or "")
    match claim:
        case Crosses(along="train_size"):
            write, unit = count, "training images"
        case Crosses():
            write, unit = plain, f"({words(claim.along)})"
        case CostGrows():
            write, unit = (lambda value: NONE if number(value) is None else f"×{plain(value)}"), ""
        case GapShrinks():
            unit += " per 10x training images" if claim.along == "train_size" else " from the first level to the last"
    estimate, low, high = (write(row[key]) for key in ("estimate", "ci_low", "ci_high"))
    bracketed = isinstance(claim, Crosses) and estimate == NONE != low
    text = f"{low} to {high}" if bracketed else formats.with_interval(estimate, low, high)
    return text if text == NONE else f"{text} {unit}".rstrip()


def arm_column(view: View, name: Callable[[Row], str] = lambda row: str(row["arm"]), heading: str = "Arm") -> Column:
    """The arm, or a series, with its colour in the figures."""
    return Column(heading, lambda row: Cell(name(row), colour=view.looks[row["arm"]].colour))


def size_column(view: View) -> Column | None:
    """Training images; None in a study of one size."""
    return number_column("Training images", "train_size", count) if view.sizes else None


def _compared_arms(view: View) -> list[Row]:
    """The rows of arms, each with its row of comparisons (empty for the baseline) as `against`."""
    against = {(row["arm"], size_of(row)): row for row in rows_of(view.findings.comparisons)}
    rows = view.grouped(rows_of(view.findings.arms))
    return [row | {"against": against.get((row["arm"], size_of(row)), {})} for row in rows]


def _told(view: View, row: Row) -> str:
    return view.named(row["arm"]) + f" {_UNLEARNED}" * bool(row.get("caution"))


def _compared_frame(view: View) -> pd.DataFrame:
    """`arms` with what `comparisons` has of each, for a download; the difference's interval is `difference_ci_*`."""
    shown = ["baseline", "difference", "ci_low", "ci_high", "p_holm", "probability_better"]
    compared = view.findings.comparisons[["arm", "train_size", *shown]]
    compared = compared.rename(columns={end: f"difference_{end}" for end in ("ci_low", "ci_high")})
    return view.findings.arms.merge(compared, how="left", on=["arm", "train_size"])


def arms_table(view: View) -> Table:
    """A row per arm (and training size): accuracy, difference to the arm that it is compared with, costs."""
    rows, frame = _compared_arms(view), _compared_frame(view)
    reference = Column("Reference arm", lambda row: Cell(row["against"].get("baseline", NONE)))
    columns = (
        arm_column(view, lambda row: _told(view, row)),
        reference if view.has_partners else None,
        size_column(view),
        Column("Seeds", lambda row: Cell(f"{count(row['n'])} of {count(row['planned'])}", number(row["n"])), True),
        number_column(f"Test accuracy [{view.level}]", "mean", formats.percent_interval, interval=True),
        number_column(f"Difference [{view.level}]", "difference", points_interval, "against", interval=True),
        number_column("p (Holm)", "p_holm", formats.p_value, "against"),
        number_column("At equal compute", _AT_EQUAL_COMPUTE, points, "against") if _has_equal_compute(view) else None,
        number_column("Better", "probability_better", partial(percent, digits=0), "against"),
        number_column("Parameters", "params", magnitude),
        number_column("MACs per image", "macs_per_image", magnitude),
        number_column("Training images/s", "train_images_per_second", count),
        number_column("Eval. images/s", "eval_images_per_second", count),
        number_column("Peak memory", "peak_memory_bytes", formats.memory),
        number_column("Time per run", "train_seconds", formats.duration),
    )
    caption = f"Arms: test accuracy, difference to {view.reference}, and cost"
    return make_table("arms", caption, columns, rows, frame=frame, note=_arms_note(view))


def takeaway_table(view: View) -> Table:
    """The arms as a paper has them, with a mark after those that may be the best at the largest training size."""
    rows, level = _compared_arms(view), view.findings.level_with_best

    def is_level(row: Row) -> bool:
        return row["arm"] in level and size_of(row) == (view.largest or size_of(row))

    columns = (
        Column("Arm", lambda row: Cell(view.named(row["arm"]) + _LEVEL * is_level(row))),
        Column("Reference arm", lambda row: Cell(row["against"].get("baseline", NONE))) if view.has_partners else None,
        size_column(view),
        number_column("Seeds", "n", count),
        number_column(f"Test accuracy [{view.level}]", "mean", formats.percent_interval, interval=True),
        number_column(f"Difference, points [{view.level}]", "difference", points_interval, "against", interval=True),
        number_column("p (Holm)", "p_holm", formats.p_value, "against"),
        number_column("Parameters", "params", magnitude),
        number_column("MACs per image", "macs_per_image", magnitude),
        number_column("Training images/s", "train_images_per_second", count),
    )
    frame = _compared_frame(view)
    frame = frame.assign(level_with_best=list(map(is_level, rows_of(frame)))) if level else frame
    told = f"{_LEVEL.strip()} level with the best: with {view.level} confidence the best arm is among those marked."
    caption = f"{view.study.question} {view.study.name}, scale {view.study.scale}; intervals over {view.varied}."
    return make_table("arms", caption, columns, rows, frame=frame, note=told * bool(level))


def _has_equal_compute(view: View) -> bool:
    return bool(rows_of(view.findings.comparisons, known=_AT_EQUAL_COMPUTE))


def _arms_note(view: View) -> str:
    per_size = "at each number of training images" if view.sizes else "in the table"
    note = (
        f"Intervals are over {view.varied}. Difference: paired by seed and test image; arm minus {view.reference}, in "
        f"percentage points. p: paired test, Holm-adjusted over the arms {per_size}. Better: probability that a fresh "
        f"run of the arm is better than one of {view.reference}. MACs: multiply-accumulates of one forward pass. No "
        "interval is given below 3 seeds."
    )
    if view.findings.best:
        note = f"{view.findings.best} {note}"
    if _has_equal_compute(view):
        note += (
            " At equal compute: difference of validation accuracy, in points, where both have spent the training "
            "compute that the cheaper one spends in all, read off the learning curves; the learning rate of the dearer "
            "one has not yet come down there, which speaks against it."
        )
    if view.records.study.search.repeats == 1 and view.records.study.search.trials:
        note += " Intervals hold for the settings that the search chose: another search may choose others."
    if shown := formats.points_range(view.findings.comparisons["smallest_detectable"]):
        note += f" Smallest true difference that such runs show with power .8: {shown} points."
    if any(row.get("caution") for row in rows_of(view.findings.arms)):
        note += f" {_UNLEARNED}: this arm apparently did not learn, or did not finish learning; see Caveats."
    return note


def summary_of(view: View) -> dict[str, Any]:
    """What a console has room for, as `columns` and `rows` of texts; an arm has its training size in its name.

    `varied`: what the intervals are over.
    """
    rows = []
    for row in _compared_arms(view):
        against, size = row["against"], f", {counted(row['train_size'], 'image')}" if view.sizes else ""
        told = difference(against) if against else NONE
        other = against.get("baseline", view.study.baseline.name)
        texts = (
            f"{_told(view, row)}{size}",
            f"{count(row['n'])} of {counted(row['planned'], 'seed')}",
            accuracy(row),
            told if told == NONE or other == view.study.baseline.name else f"{told} to {other}",
            formats.p_value(against.get("p_holm")),
            magnitude(row["macs_per_image"]),
            count(row["train_images_per_second"]),
        )
        rows.append(list(texts))
    columns = ["arm", "seeds", "test accuracy", "difference", "p (Holm)", "MACs", "images/s"]
    return {"columns": columns, "rows": rows, "varied": view.varied}


def crossings_table(view: View, *, by_level: bool) -> Table:
    """How gaps change and where they close: of two series by the factor's level, or of each arm by training size."""
    name, write = ("levels", plain) if by_level else ("crossovers", count)
    names = arm_column(view, view.compared)
    change, crossing = "Change of gap per 10x training images", "Crossover, training images"
    caption = f"How the gap to {view.reference} changes with training images"
    if by_level:
        names = arm_column(view, lambda row: f"{row['arm']} {MINUS} {row['baseline']}", "Series")
        change, crossing = "Change of gap from the first level to the last", f"Crossing, {view.factor}"
        caption = f"How gaps between series change with {view.factor}"

    def pair(row: Row) -> tuple[str, str, int | None]:
        return row["arm"], row["baseline"], size_of(row)

    def place(row: Row) -> Cell:
        middle, low, high = (write(row[key]) for key in ("crossing", "ci_low", "ci_high"))
        told = middle if low == NONE else f"{low} to {high}" if middle == NONE else f"{middle} [{low}, {high}]"
        return Cell(told, number(row["crossing"]))

    columns = (
        names,
        size_column(view) if by_level else None,
        number_column(f"{change}, points [{view.level}]", "slope", points_interval, "line", interval=True),
        Column(f"{crossing} [{view.level}]", place, numeric=True),
        text_column("In words", "statement"),
        Column("On other scales", lambda row: Cell(text_of(row["line"].get("scales")) or NONE)),
    )
    frame = view.findings.crossovers
    slopes = {pair(row): row for row in view.along(view.findings.slopes, factor=by_level)}
    rows = [row | {"line": slopes.get(pair(row), {})} for row in view.along(frame, factor=by_level)]
    if "along" in frame:
        frame = frame[(frame["along"] != "train_size") == by_level]
    if not by_level:
        rows, frame = view.grouped(rows), frame.drop(columns=["along", "train_size"], errors="ignore")
    note = (
        "A crossing is looked for within the measured range only; where two points bracket it, both are told. Ratio of "
        "errors: the error of the first over that of the other. Data equivalence: how many times the other's training "
        "images it needs to be as accurate. In brackets how each changes; above 1 it grows."
    )
    return make_table(name, caption, columns, rows, frame=frame, note=note)


def limits_table(view: View) -> Table:
    """A row per arm and training size: how often it saw its images, its last losses, whether updates limit it."""
    rows = rows_of(view.findings.arms, known="passes") if view.sizes else []
    columns = (
        arm_column(view),
        size_column(view),
        number_column("Passes", "passes", plain),
        number_column("Last training loss", "train_loss", _loss),
        number_column("Validation loss", "validation_loss", _loss),
        text_column("Limited by updates", "limited"),
    )
    note = (
        "Passes: over the training images. Limited by updates, not by data: both losses still fell between the last "
        "two evaluations, and no image was seen twice or the training loss is less than "
        f"{percent(CLEAR_GAP, 0)} below the validation loss. More images would then change little without more "
        "updates."
    )
    rows = view.grouped([row | {"limited": "yes" if row["limited_by_updates"] else "no"} for row in rows])
    return make_table("limits", "What limits an arm", columns, rows, frame=view.findings.arms, note=note)


def _loss(value: Any) -> str:
    return NONE if number(value) is None else f"{value:.3f}"


def shifts_table(view: View) -> Table:
    """A row per arm (and training size): accuracy and agreement on images shifted by each number of pixels."""
    measured: dict[tuple[str, int | None], Row] = {}
    rows = rows_of(view.findings.shifts, known="mean")
    for row in rows:
        of_arm = measured.setdefault((row["arm"], size_of(row)), {"arm": row["arm"], "train_size": size_of(row)})
        of_arm[f"{row['metric']} {row['shift']}"] = row
    shifts = sorted({int(row["shift"]) for row in rows})
    shown = [("Test accuracy", "test_accuracy", shift) for shift in shifts]
    shown += [("Agreement", "agreement", shift) for shift in shifts if shift]  # at 0 all agree
    columns = [
        number_column(f"{heading}, {shift} px", "mean", formats.percent_interval, f"{metric} {shift}", interval=True)
        for heading, metric, shift in shown
    ]
    caption = f"Tests on shifted images, with {view.level} intervals over {view.runs_varied}"
    note = "Agreement: share of test images with the same prediction as without the shift."
    rows, frame = view.grouped(list(measured.values())), view.findings.shifts
    return make_table("shifts", caption, (arm_column(view), size_column(view), *columns), rows, frame=frame, note=note)


def few_shots_table(view: View) -> Table:
    """A row per arm, training size and images of a class: few-shot accuracy, its difference to the reference arm."""
    rows = [
        row
        | {"lead": {key: row[f"difference{end}"] for key, end in zip(("at", "ci_low", "ci_high"), _ENDS, strict=True)}}
        for row in rows_of(view.findings.few_shots, known="mean")
    ]
    asked = view.study.few_shot
    told = "" if asked is None else f" to {asked.data.title}"
    columns = (
        number_column("Images of each class", "shots", formats.count),
        number_column("Few-shot accuracy", "mean", formats.percent_interval, interval=True),
        number_column("Difference, points", "at", formats.points_interval, "lead", interval=True),
    )
    caption = f"What the features are worth{told}, with {view.level} intervals over {view.runs_varied}"
    note = (
        "Least squares on frozen features; mean over draws of the images learned from, the same for all arms of a seed."
    )
    shown, frame = (arm_column(view), size_column(view), *columns), view.findings.few_shots
    return make_table("few_shots", caption, shown, view.grouped(rows), frame=frame, note=note)


def patches_table(view: View) -> Table:
    """A row per size of patches of each arm that is trained for several: its accuracy, and what one for each has."""
    rows = [
        row
        | {"lead": {key: row[f"difference{end}"] for key, end in zip(("at", "ci_low", "ci_high"), _ENDS, strict=True)}}
        for row in rows_of(view.findings.patches, known="mean")
    ]
    columns = (
        number_column("Patches, px", "patch_size", plain),
        number_column("MACs per image", "macs_per_image", magnitude),
        number_column("Test accuracy", "mean", formats.percent_interval, interval=True),
        text_column("Trained for it alone", "alone"),
        number_column("Its test accuracy", "alone_mean", percent),
        number_column("Difference, points", "at", formats.points_interval, "lead", interval=True),
    )
    caption = f"Tests of one training with patches of each size, with {view.level} intervals over {view.varied}"
    note = "Difference: to the arm trained for patches of that size alone, by the same seeds and test images."
    shown, frame = (arm_column(view), size_column(view), *columns), view.findings.patches
    return make_table("patches", caption, shown, view.grouped(rows), frame=frame, note=note)


_ENDS = ("", "_low", "_high")


def laws_table(view: View) -> Table:
    """Two-factor studies: the law of each arm through whose errors one could be fitted."""
    laws = rows_of(view.findings.laws, known="a")
    shifted = any(row["d"] for row in laws)
    columns = (
        arm_column(view),
        *(number_column(name, name, plain) for name in ("abcd" if shifted else "abc")),
        number_column("R²", "r2", plain),
    )
    caption = f"Fitted laws: {law_formula(row['d'] for row in laws)}, for n training images"
    return make_table("laws", caption, columns, laws, frame=view.findings.laws)
