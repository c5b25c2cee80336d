"""Two studies side by side on one page: questions, answers, claims, the arms that both have, and what differs."""

from collections.abc import Iterator
from dataclasses import replace
from os.path import relpath
from pathlib import Path

from harness.analysis.across import PLACES, Across
from harness.analysis.estimate import LEVEL
from harness.analysis.findings import Findings
from harness.records import files
from harness.records.layout import StudyFolder
from harness.records.run_table import StudyRecords
from harness.report.content import NO_ANSWER, Content, Section, cautions_of, command_of, drawn, title_of
from harness.report.origin_tables import provenance_table
from harness.report.page import markdown, page
from harness.report.result_tables import claims_table
from harness.report.table import Cell, Column, Table, make_table, number_column, text_column, text_table
from harness.report.view import Row, View, rows_of
from harness.spec.formats import MINUS, NONE, count, counted, number, p_value, percent, points_interval
from harness.spec.verdicts import tally_of

Results = tuple[StudyRecords, Findings]


def write_comparison(first: Results, second: Results, across: Across, output: Path) -> list[Path]:
    """Write the page `output` (one file that loads nothing) and the same as Markdown beside it; returns both paths.

    Equal results give equal bytes. The Markdown links the studies' own figures, where these are kept.
    """
    content, beside = comparison_of(first, second, across, output.parent), output.with_suffix(".md")
    files.write_text(output, page(content))
    files.write_text(beside, markdown(content))
    return [output, beside]


def comparison_of(first: Results, second: Results, across: Across, folder: Path) -> Content:
    """Put what was found in the page's order; `folder` is that of the page."""
    titles = [title_of(records) for records, _ in (first, second)]
    if titles[0] == titles[1]:
        titles = [f"{title}, {place}" for title, place in zip(titles, PLACES, strict=True)]
    views = [View(*results) for results in (first, second)]
    sides = list(zip((1, 2), views, titles, strict=True))
    claims = [claims_table(view, f"claims-{place}", f"{title}: claims") for place, view, title in sides]
    sections = (
        Section("claims", "Claims", tables=tuple(claims)),
        *(Section(anchor, heading, tables=(table,)) for anchor, heading, table in _tables(across, views, titles)),
        Section("reproduce", "Reproduce", code="\n".join(command_of(view.records) for view in views)),
    )
    return Content(
        kind="comparison",
        title=f"{titles[0]} and {titles[1]}",
        kicker="Two studies side by side",
        heading=f"{titles[0]} and {titles[1]}",
        answer=_summary(across),
        callouts=tuple(filter(None, [Section("cautions", "Caveats", lines=across.cautions)])),
        pair=tuple(_side(view, title, place, folder) for place, view, title in sides),
        sections=tuple(filter(None, sections)),
    )


def _side(view: View, title: str, place: int, folder: Path) -> Section:
    figures = []
    for figure in drawn(view, most=1):
        path = StudyFolder(view.records.folder or Path()).figures / f"{figure.name}.png"
        address = relpath(path, folder).replace(" ", "%20") if view.records.folder and path.is_file() else ""
        figures.append(replace(figure, number=place, address=address))
    return Section(
        f"study-{place}",
        title,
        question=view.study.question,
        text=f"{view.findings.answer or NO_ANSWER} Source: {view.study.source}.",
        tally=tally_of(rows_of(view.findings.claims)),
        lines=(*view.findings.gaps, *cautions_of(view.records, view.findings)),
        figures=tuple(figures),
    )


def _summary(across: Across) -> str:
    shared = rows_of(across.shared)
    judged = [row for row in shared if number(row["p_holm"]) is not None]
    if not shared:
        return "The studies share no arm: their numbers stand side by side here, and no difference is computed."
    arms = counted(len(shared), "arm") + (" (counted once per training size)" if len(shared) > 1 else "")
    if not judged:
        return f"The studies share {arms}, with too few common seeds to tell whether they differ."
    clear = sum(float(row["p_holm"]) < 1 - LEVEL for row in judged)
    told = "none differs" if not clear else f"{clear} {'differs' if clear == 1 else 'differ'}"
    return f"The studies share {arms}; {told} significantly (Holm-adjusted p below .05; {len(judged)} judged)."


def _tables(across: Across, views: list[View], titles: list[str]) -> Iterator[tuple[str, str, Table]]:
    """Anchor, heading and table of each section after the claims."""
    names = Column("Arm", lambda row: Cell(" / ".join(dict.fromkeys((row["first_arm"], row["second_arm"])))))
    means = [number_column(title, f"{side}_mean", percent) for title, side in zip(titles, PLACES, strict=True)]

    def same(row: Row) -> Cell:
        return Cell(f"{count(row['same_runs'])} of {count(row['n'])}", number(row["same_runs"]))

    columns = (
        names,
        number_column("Training images", "train_size", count),
        *means,
        number_column(f"Difference, second {MINUS} first, points [95%]", "difference", points_interval, interval=True),
        number_column("p (Holm)", "p_holm", p_value),
        Column("Same configuration", same, numeric=True),
    )
    caption, frame = "Arms that both studies have: same model, recipe and data", across.shared
    note = (
        "Mean test accuracy; difference paired by seed and test image. Same configuration: how many of the common "
        "seeds were trained with the same tuned values too; they differ by chance, machine or code alone."
    )
    yield "arms", "Shared arms", make_table("shared", caption, columns, rows_of(frame), frame=frame, note=note)
    columns = (
        names,
        number_column("Training images", "first_size", count),
        *means,
        text_column("What differs", "differs"),
    )
    caption = "Arms with the same model and number of training images, but another recipe or data"
    note = "Mean test accuracy. No difference is computed: it would mix the effect of the fields that differ."
    kin = across.kin
    yield "related", "Related arms", make_table("related", caption, columns, rows_of(kin), frame=kin, note=note)
    caption = "Settings of data, recipe and search that differ"
    yield "differences", "What differs", text_table("settings", caption, ("Setting", *titles), across.settings)
    yield "made", "Provenance", _provenance_table(views, titles)


def _provenance_table(views: list[View], titles: list[str]) -> Table:
    one, other = ({row[0].text: row[1].text for row in provenance_table(view.records).rows} for view in views)
    both = [(key, one.get(key, NONE), other.get(key, NONE)) for key in one | other]
    rows = [(*row, "not known" if NONE in row else "same" if row[1] == row[2] else "differs") for row in both]
    return text_table("provenance", "What the results were made with", ("What", *titles, "Same?"), rows)
