"""A report's content in its order, before it is set as a page or as Markdown."""

import base64
import shlex
from dataclasses import dataclass, field
from urllib.parse import quote

from harness.analysis.findings import VERDICTS, Findings
from harness.analysis.wording import listed
from harness.records.run_table import StudyRecords
from harness.report import origin_tables, result_tables
from harness.report.figures import pictures_of
from harness.report.own_figures import own_figures
from harness.report.protocol import protocol_table
from harness.report.style import png, svg, theme, undrawn
from harness.report.table import Table
from harness.spec.formats import words
from harness.spec.plural import counted

_MOST_SVG = 200_000
"""Bytes; a larger drawing stands in the page as PNG, so that the page stays small."""

_PLAIN_IN_URI = " !$()*+,-./:;=?@_~'"
"""Besides letters and digits."""

NO_ANSWER = "No run has finished yet, so there is no answer."


@dataclass(frozen=True)
class Drawn:
    """A figure with its files."""

    name: str
    section: str
    title: str
    description: str
    number: int
    """In the order of the report, from 1."""
    png: bytes
    svg: bytes

    @property
    def data_uri(self) -> str:
        """The figure for a page that loads nothing: vectors, or pixels where those are much smaller.

        Vectors stand as text, a fifth shorter than in base64; no character is left in it that an attribute would need
        to have escaped.
        """
        if len(self.svg) > _MOST_SVG:
            return "data:image/png;base64," + base64.b64encode(self.png).decode()
        single_quoted = self.svg.replace(b"'", b"&apos;").replace(b'"', b"'")
        return "data:image/svg+xml," + quote(single_quoted, safe=_PLAIN_IN_URI)


@dataclass(frozen=True)
class Section:
    """A heading with its figures and tables."""

    anchor: str
    heading: str
    figures: tuple[Drawn, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything that a report says."""

    title: str
    study: str
    question: str
    answer: str
    verdicts: tuple[tuple[str, str, int], ...]
    """Verdict, its symbol and how many claims have it."""
    gaps: tuple[str, ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    changes: tuple[str, ...]
    provenance: Table
    settings: Table
    command: str
    citation: str
    figures: tuple[Drawn, ...] = field(default=())


def content_of(records: StudyRecords, findings: Findings) -> Content:
    """Draw the figures and put everything in the report's order."""
    study = records.study
    figures = (*drawn(records, findings), *_own(records, findings))
    return Content(
        title=title_of(records),
        study=f"Study {study.name}, scale {study.scale}; after {study.source}",
        question=study.question,
        answer=findings.answer or NO_ANSWER,
        verdicts=verdicts_of(findings),
        gaps=findings.gaps,
        warnings=(*cautions_of(records, findings), *_looked_at(study.changes_after_first_look)),
        sections=_sections(records, findings, figures),
        changes=study.changes_after_first_look,
        provenance=origin_tables.provenance_table(records),
        settings=protocol_table(records),
        command=command_of(records),
        citation=_citation(records),
        figures=figures,
    )


def cautions_of(records: StudyRecords, findings: Findings) -> tuple[str, ...]:
    """What changes the reading of the results, and of their figures."""
    warnings = (*findings.warnings, *own_figures(records)[1])
    names = [*(arm.name for arm in records.study.all_arms), *records.study.series]
    boxed = undrawn(dict.fromkeys(names))
    if not boxed:
        return warnings
    told = listed(f"{name} ({letters})" for name, letters in boxed.items())
    return (
        *warnings,
        f"No installed font has these letters, so that figures show boxes in their place: {told}. Install a font that "
        "has them, such as Noto, or give other names.",
    )


def title_of(records: StudyRecords) -> str:
    """The study's name for people, with its scale."""
    return f"{words(records.study.name).capitalize()} ({records.study.scale})"


def verdicts_of(findings: Findings) -> tuple[tuple[str, str, int], ...]:
    """Verdict, its symbol and how many claims have it: those that occur, in the order of `VERDICTS`."""
    found = list(findings.claims["verdict"])
    return tuple((name, result_tables.SYMBOLS[name], found.count(name)) for name in VERDICTS if name in found)


def drawn(records: StudyRecords, findings: Findings, most: int | None = None) -> list[Drawn]:
    """The figures that apply, the main one first; the first `most` of them, or all."""
    made = []
    with theme():
        for place, picture in enumerate(pictures_of(records, findings)[:most], start=1):
            figure = picture.draw(records, findings)
            text = picture.describe(records, findings)
            made.append(Drawn(picture.name, picture.section, picture.title, text, place, png(figure), svg(figure)))
    return made


def _own(records: StudyRecords, findings: Findings) -> list[Drawn]:
    """The figures that the study's file has drawn, after all others."""
    first = len(pictures_of(records, findings)) + 1
    return [
        Drawn(own.name, "own", own.title, own.caption, number, own.png, own.svg)
        for number, own in enumerate(own_figures(records)[0], start=first)
    ]


def _sections(records: StudyRecords, findings: Findings, figures: tuple[Drawn, ...]) -> tuple[Section, ...]:
    both = records, findings
    parts = (
        ("claims", "Claims", (result_tables.claims_table(*both),)),
        ("result", "Main result", ()),
        ("arms", "Arms", (result_tables.arms_table(*both),)),
        ("sizes", "Training images", (result_tables.sizes_table(*both), result_tables.laws_table(*both))),
        ("levels", "Series", (result_tables.levels_table(*both),)),
        ("shifts", "Shifted images", (result_tables.shifts_table(*both),)),
        ("cost", "Cost", ()),
        ("learning", "Learning curves", ()),
        ("tuning", "Tuning", (origin_tables.tuning_table(*both),)),
        ("data", "Data", origin_tables.images_tables(records)),
        ("unfinished", "Runs without a result", (origin_tables.unfinished_table(*both),)),
        ("own", "The study's own figures", ()),
    )
    sections = (
        Section(
            anchor,
            heading,
            tuple(figure for figure in figures if figure.section == anchor),
            tuple(table for table in tables if table.rows),
        )
        for anchor, heading, tables in parts
    )
    return tuple(section for section in sections if section.figures or section.tables)


def _looked_at(changes: tuple[str, ...]) -> tuple[str, ...]:
    """A caution where a study is not what it was before its first results."""
    if not changes:
        return ()
    times = "a change" if len(changes) == 1 else counted(len(changes), "change")
    return (f"This study has had {times} after results had been seen: see Changes after first look.",)


def command_of(records: StudyRecords) -> str:
    """The command that makes the results again."""
    command = records.provenance.get("command")
    if isinstance(command, list | tuple):
        return shlex.join(map(str, command))
    return str(command) if command else f"make study NAME={records.study.name} SCALE={records.study.scale}"


def _citation(records: StudyRecords) -> str:
    known, study = records.provenance, records.study
    version = f" {known['patchbench_version']}" if known.get("patchbench_version") else ""
    revision = f", git revision {known['git_revision']}" if known.get("git_revision") else ""
    data = f", data SHA-256 {known['data_hash']}" if known.get("data_hash") else ""
    made = f", {str(known['created'])[:10]}" if known.get("created") else ""
    return (
        f"patchbench{version}, study {study.name} at scale {study.scale}{revision}{data}{made}. "
        f"Please cite the source of the question too: {study.source}."
    )
