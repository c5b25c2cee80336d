"""Two results side by side on one page: of one study, whether they agree; of two, the arms that both have.

The same tables and sentences stand in the console.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from os.path import relpath
from pathlib import Path
from typing import Any

from harness.analysis.across import PLACES, Across
from harness.analysis.estimate import LEVEL
from harness.analysis.findings import Findings
from harness.analysis.replication import Replication
from harness.records import files
from harness.records.layout import StudyFolder
from harness.records.run_table import StudyRecords
from harness.report.content import NO_ANSWER, Content, Section, cautions_of, command_of, drawn, title_of
from harness.report.origin_tables import provenance_table
from harness.report.page import markdown, page
from harness.report.result_tables import claims_table
from harness.report.table import Cell, Column, Table, json_rows, make_table, number_column, text_column, text_table
from harness.report.view import Row, View, rows_of
from harness.spec.formats import MINUS, NONE, count, counted, number, p_value, percent, points_interval
from harness.spec.verdicts import SYMBOLS, tally_of

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
    titles = titles_of(first, second)
    views = [View(*results) for results in (first, second)]
    sides = list(zip((1, 2), views, titles, strict=True))
    claims = [claims_table(view, f"claims-{place}", f"{title}: claims") for place, view, title in sides]
    sections = (
        Section("claims", "Claims", tables=tuple(claims)),
        *(Section(anchor, heading, tables=(table,)) for anchor, heading, table in tables_of(across, titles)),
        Section("made", "Provenance", tables=(_provenance_table(views, titles),)),
        Section("reproduce", "Reproduce", code="\n".join(command_of(view.records) for view in views)),
    )
    return Content(
        kind="comparison",
        title=f"{titles[0]} and {titles[1]}",
        kicker="Two runs of one study side by side" if across.replication else "Two studies side by side",
        heading=f"{titles[0]} and {titles[1]}",
        answer=summary_of(across),
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
        tally=tally_of(rows_of(view.findings.claims)) if view.findings.conclusive else (),
        lines=(*view.findings.gaps, *cautions_of(view.records, view.findings)),
        figures=tuple(figures),
    )


def titles_of(first: Results, second: Results) -> list[str]:
    """What the two are called; by their places where they are of one study and scale."""
    titles = [title_of(records) for records, _ in (first, second)]
    return (
        titles if titles[0] != titles[1] else [f"{title}, {place}" for title, place in zip(titles, PLACES, strict=True)]
    )


def summary_of(across: Across) -> str:
    """The comparison in a sentence or two."""
    if across.replication:
        return across.replication.result
    shared = rows_of(across.shared)
    judged = [row for row in shared if number(row["p_holm"]) is not None]
    if not shared:
        return "The studies share no arm: their numbers stand side by side here, and no difference is computed."
    arms = counted(len(shared), "arm") + (" (counted once per training size)" if len(shared) > 1 else "")
    if not judged:
        return f"The studies share {arms}, with lost runs or too few common seeds to tell whether they differ."
    clear = sum(float(row["p_holm"]) < 1 - LEVEL for row in judged)
    told = "none differs" if not clear else f"{clear} {'differs' if clear == 1 else 'differ'}"
    return f"The studies share {arms}; {told} significantly (Holm-adjusted p below .05; {len(judged)} judged)."


def document(across: Across, output: Path) -> dict[str, Any]:
    """The comparison for programs: fractions, and null for a number that is not known."""
    again = across.replication
    frames = {"differences": again.contrasts, "verdicts": again.claims} if again else {}
    frames |= {} if again else {"shared": across.shared, "related": across.kin}
    return {
        "kind": "replication" if again else "studies",
        "answer": summary_of(across),
        **{name: json_rows(frame) for name, frame in frames.items()},
        "settings": [list(row) for row in across.settings],
        "warnings": list(across.cautions),
        "files": {"page": str(output), "markdown": str(output.with_suffix(".md"))},
    }


def tables_of(across: Across, titles: list[str]) -> Iterator[tuple[str, str, Table]]:
    """Anchor, heading and table of each section on what the two have in common and what differs."""
    yield from _replication_tables(across.replication) if across.replication else _shared_tables(across, titles)
    caption = "Settings of data, recipe and search that differ"
    yield "differences", "What differs", text_table("settings", caption, ("Setting", *titles), across.settings)


def _replication_tables(again: Replication) -> Iterator[tuple[str, str, Table]]:
    def interval(heading: str, key: str, low: str, high: str) -> Column:
        return Column(heading, lambda row: Cell(points_interval(row[key], row[low], row[high]), number(row[key])), True)

    frame = again.contrasts
    sized = len(set(frame["train_size"])) > 1
    columns: tuple[Column | None, ...] = (
        text_column("Arm", "arm"),
        text_column("Against", "baseline"),
        number_column("Training images", "train_size", count) if sized else None,
        interval("First, points [interval]", "first", "first_low", "first_high"),
        interval("Second", "second", "second_low", "second_high"),
        interval(f"Second {MINUS} first", "difference", "ci_low", "ci_high"),
        number_column("p (Holm)", "p_holm", p_value),
        interval("Pooled", "pooled", "pooled_low", "pooled_high"),
    )
    note = (
        "Differences of test accuracy, arm minus reference arm. Second minus first is unpaired and leaves out the test "
        "images, which both runs share; a low p says that the runs differ by more than searches and seeds do. Pooled: "
        "weighted by inverse variance where the runs agree, else with the variance between runs. Levels: that of "
        "each run's report, the higher of both where they are pooled, and 95% for second minus first."
    )
    caption = "The differences in both runs"
    yield (
        "replicated",
        "Replication",
        make_table("replicated", caption, columns, rows_of(frame), frame=frame, note=note),
    )
    columns = (
        text_column("Claim", "statement"),
        *(Column(heading, partial(_verdict, heading.lower())) for heading in ("First", "Second", "Pooled")),
        text_column("Reason of the pooled verdict", "reason"),
    )
    frame, caption = again.claims, "Verdicts of both runs, and of both pooled"
    yield "verdicts", "Verdicts", make_table("verdicts", caption, columns, rows_of(frame), frame=frame)


def _verdict(key: str, row: Row) -> Cell:
    found = row[key]
    return Cell(f"{SYMBOLS[found]} {found}", verdict=found) if found else Cell(NONE)


def _shared_tables(across: Across, titles: list[str]) -> Iterator[tuple[str, str, Table]]:
    names = Column("Arm", lambda row: Cell(" / ".join(dict.fromkeys((row["first_arm"], row["second_arm"])))))
    means = [number_column(title, f"{side}_mean", percent) for title, side in zip(titles, PLACES, strict=True)]

    def same(row: Row) -> Cell:
        return Cell(f"{count(row['same_runs'])} of {count(row['n'])}", number(row["same_runs"]))

    columns = (
        names,
        number_column("Training images", "train_size", count),
        *means,
        number_column(f"Second {MINUS} first, points [interval]", "difference", points_interval, interval=True),
        number_column("p (Holm)", "p_holm", p_value),
        Column("Same configuration", same, numeric=True),
    )
    caption, frame = "Arms that both studies have: same model, recipe and data", across.shared
    note = (
        "Mean test accuracy; difference paired by seed and test image, unpaired where the seeds or the numbers of "
        "searches differ. Same configuration: how many of the common seeds were trained with the same tuned values "
        "too; they differ by chance, machine or code alone. Intervals of paired differences are at the higher level of "
        "both reports, of unpaired ones at 95%."
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


def _provenance_table(views: list[View], titles: list[str]) -> Table:
    one, other = ({row[0].text: row[1].text for row in provenance_table(view.records).rows} for view in views)
    both = [(key, one.get(key, NONE), other.get(key, NONE)) for key in one | other]
    rows = [(*row, "not known" if NONE in row else "same" if row[1] == row[2] else "differs") for row in both]
    return text_table("provenance", "What the results were made with", ("What", *titles, "Same?"), rows)
