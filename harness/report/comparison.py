"""Two studies side by side on one page: questions, answers, claims, the arms that both have, and what differs."""

from dataclasses import dataclass, replace
from os.path import relpath
from pathlib import Path

from harness.analysis.across import PLACES, Across
from harness.analysis.estimate import LEVEL
from harness.analysis.findings import Findings
from harness.records import csv_text, files
from harness.records.layout import StudyFolder
from harness.records.run_table import StudyRecords
from harness.report.content import NO_ANSWER, Drawn, cautions_of, command_of, drawn, title_of, verdicts_of
from harness.report.frames import Row, rows_of
from harness.report.markdown import bulleted, code, escape, prose, tally
from harness.report.markdown import table as table_text
from harness.report.origin_tables import provenance_table
from harness.report.page import environment
from harness.report.result_tables import claims_table
from harness.report.table import (
    Cell,
    Column,
    Table,
    interval_column,
    make_table,
    number_column,
    text_column,
    text_table,
)
from harness.spec.formats import MINUS, NONE, count, number, p_value, percent, points_interval
from harness.spec.plural import counted


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two studies."""

    anchor: str
    title: str
    source: str
    question: str
    answer: str
    verdicts: tuple[tuple[str, str, int], ...]
    gaps: tuple[str, ...]
    warnings: tuple[str, ...]
    figure: Drawn | None
    claims: Table
    command: str
    folder: Path | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that the page says."""

    title: str
    sides: tuple[Side, Side]
    cautions: tuple[str, ...]
    summary: str
    shared: Table
    kin: Table
    settings: Table
    provenance: Table


def write_comparison(
    first: tuple[StudyRecords, Findings], second: tuple[StudyRecords, Findings], across: Across, output: Path
) -> list[Path]:
    """Write the page `output` (one file that loads nothing) and the same as Markdown beside it; returns both paths.

    Equal results give equal bytes. The Markdown links the studies' own figures.
    """
    content = comparison_of(first, second, across)
    beside = output.with_suffix(".md")
    files.write_text(output, environment().get_template("compare.html.j2").render(report=content))
    files.write_text(beside, comparison_markdown(content, output.parent))
    return [output, beside]


def comparison_of(
    first: tuple[StudyRecords, Findings], second: tuple[StudyRecords, Findings], across: Across
) -> Comparison:
    """Put what was found in the page's order."""
    titles = tuple(title_of(records) for records, _ in (first, second))
    if titles[0] == titles[1]:
        titles = tuple(f"{title}, {place}" for title, place in zip(titles, PLACES, strict=True))
    sides = (_side(*first, titles[0], 1), _side(*second, titles[1], 2))
    return Comparison(
        title=f"{titles[0]} and {titles[1]}",
        sides=sides,
        cautions=across.cautions,
        summary=_summary(across),
        shared=_shared_table(across, titles),
        kin=_kin_table(across, titles),
        settings=_settings_table(across, titles),
        provenance=_provenance_table(first[0], second[0], titles),
    )


def _side(records: StudyRecords, findings: Findings, title: str, place: int) -> Side:
    pictures = drawn(records, findings, most=1)
    claims = claims_table(records, findings)
    return Side(
        anchor=f"study-{place}",
        title=title,
        source=records.study.source,
        question=records.study.question,
        answer=findings.answer or NO_ANSWER,
        verdicts=verdicts_of(findings),
        gaps=findings.gaps,
        warnings=cautions_of(records, findings),
        figure=replace(pictures[0], number=place) if pictures else None,
        claims=replace(claims, name=f"claims-{place}", caption=f"{title}: published claims"),
        command=command_of(records),
        folder=records.folder,
    )


def _summary(across: Across) -> str:
    """How many arms are shared, and how many of them differ beyond chance."""
    shared = rows_of(across.shared)
    judged = [row for row in shared if number(row["p_holm"]) is not None]
    if not shared:
        return "The studies share no arm: their numbers stand side by side here, and no difference is computed."
    arms = counted(len(shared), "arm") + (" (counted once per training size)" if len(shared) > 1 else "")
    if not judged:
        return f"The studies share {arms}, with too few common seeds to tell whether they differ."
    clear = [row for row in judged if float(row["p_holm"]) < 1 - LEVEL]
    told = "none differs" if not clear else f"{len(clear)} {'differs' if len(clear) == 1 else 'differ'}"
    return f"The studies share {arms}; {told} significantly (Holm-adjusted p below .05; {len(judged)} judged)."


def _names(row: Row) -> Cell:
    return Cell(" / ".join(dict.fromkeys((str(row["first_arm"]), str(row["second_arm"])))))


def _shared_table(across: Across, titles: tuple[str, ...]) -> Table:
    def mean(title: str, side: str) -> Column:
        value, seeds = f"{side}_mean", f"{side}_n"

        def cell(row: Row) -> Cell:
            text = percent(row[value])
            return Cell(text if text == NONE else f"{text} ({count(row[seeds])})", number(row[value]))

        return Column(title, cell, numeric=True)

    def same(row: Row) -> Cell:
        return Cell(f"{count(row['same_runs'])} of {count(row['n'])}", number(row["same_runs"]))

    columns = (
        Column("Arm", _names),
        number_column("Training images", "train_size", count),
        mean(titles[0], "first"),
        mean(titles[1], "second"),
        interval_column(f"Difference, second {MINUS} first, points [95%]", "difference", points_interval),
        number_column("p (Holm)", "p_holm", p_value),
        Column("Same configuration", same, numeric=True),
    )
    return make_table(
        "shared",
        "Arms that both studies have: same model, recipe and data",
        columns,
        rows_of(across.shared),
        csv=csv_text.from_frame(across.shared),
        note="Mean test accuracy (n seeds); difference paired by seed and test image. Same configuration: how many of "
        "the common seeds were trained with the same tuned values too; they differ by chance, machine or code alone.",
    )


def _kin_table(across: Across, titles: tuple[str, ...]) -> Table:
    columns = (
        Column("Arm", _names),
        number_column("Training images", "first_size", count),
        number_column(titles[0], "first_mean", percent),
        number_column(titles[1], "second_mean", percent),
        text_column("What differs", "differs"),
    )
    return make_table(
        "kin",
        "Arms with the same model and number of training images, but another recipe or data",
        columns,
        rows_of(across.kin),
        csv=csv_text.from_frame(across.kin),
        note="Mean test accuracy. No difference is computed: it would mix the effect of the fields that differ.",
    )


def _settings_table(across: Across, titles: tuple[str, ...]) -> Table:
    caption = "Settings of data, recipe and search that differ"
    return text_table("settings", caption, ("Setting", *titles), across.settings)


def _provenance_table(first: StudyRecords, second: StudyRecords, titles: tuple[str, ...]) -> Table:
    one, other = ({row[0].text: row[1].text for row in provenance_table(records).rows} for records in (first, second))
    rows = [
        (key, one.get(key, NONE), other.get(key, NONE), _told(one.get(key), other.get(key))) for key in {**one, **other}
    ]
    return text_table("provenance", "What the results were made with", ("What", *titles, "Same?"), rows)


def _told(one: str | None, other: str | None) -> str:
    if one is None or other is None:
        return "not known"
    return "same" if one == other else "differs"


def comparison_markdown(content: Comparison, folder: Path) -> str:
    """The comparison in Markdown, for a file in `folder`: its pictures are the studies' own, where these are kept."""
    blocks = [f"# {escape(content.title)}", f"**In short:** {escape(content.summary)}"]
    blocks += bulleted("Caveats", content.cautions)
    for side in content.sides:
        blocks += [f"## {escape(side.title)}", f"**{escape(side.question)}**", f"**Answer:** {escape(side.answer)}"]
        blocks += [f"**Claims:** {tally(side.verdicts)}"] if side.verdicts else []
        blocks += [f"- {escape(line)}" for line in (*side.gaps, *side.warnings)]
        picture = side.folder and side.figure and StudyFolder(side.folder).figures / f"{side.figure.name}.png"
        if picture and side.figure and picture.is_file():
            address = relpath(picture, folder).replace(" ", "%20")
            blocks.append(f"![{escape(side.figure.description)}]({address})")
        blocks += [table_text(side.claims)] if side.claims.rows else []
        blocks.append(prose(f"Source: {side.source}"))
    for data in (content.shared, content.kin, content.settings, content.provenance):
        if data.rows:
            blocks += [f"## {escape(data.caption)}", table_text(data), *([escape(data.note)] if data.note else [])]
    blocks += ["## Reproduce", code("\n".join(side.command for side in content.sides))]
    return "\n\n".join(blocks) + "\n"
