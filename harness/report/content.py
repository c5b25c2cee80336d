"""A report's content in its order, before it is set as a page or as Markdown."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from harness.analysis.findings import Findings
from harness.analysis.looks import untold
from harness.analysis.wording import seeds_told
from harness.records.run_table import StudyRecords
from harness.report import class_tables, origin_tables, result_tables
from harness.report.figures import drawings
from harness.report.own_figures import own_figures
from harness.report.result_tables import crossings_table
from harness.report.style import Drawn, png, theme
from harness.report.table import Table
from harness.report.view import View, rows_of
from harness.spec import ModelSpec
from harness.spec.formats import NONE, count, counted, magnitude, plain, words
from harness.spec.verdicts import Tally, tally_of

_DPI, _COLOURS = 116, 48  # of figures in a report, which hold each twice: what readers do not see is left out
_MOST_MODELS = 5  # that a page's head names one by one
_FOLDED = ("tuning", "inside", "data")  # sections that are seen when they are asked for, as the last ones are

NO_ANSWER = "No run has finished yet, so there is no answer."


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it, in this order; true where something does."""

    anchor: str
    heading: str
    question: str = ""
    text: str = ""
    tally: Tally = ()
    lines: tuple[str, ...] = ()
    figures: tuple[Drawn, ...] = ()
    tables: tuple[Table, ...] = ()  # those without rows do not apply
    code: str = ""
    folded: bool = False  # only its heading is seen until it is asked for

    def __bool__(self) -> bool:
        return any((self.text, self.lines, self.figures, self.code, *(table.rows for table in self.tables)))


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything that a page says."""

    kind: Literal["report", "comparison"]
    title: str
    kicker: str  # above the heading
    heading: str
    answer: str
    numbers: str = ""  # the line below the answer
    conclusive: bool = True  # else the answer says that this is a test of the wiring
    facts: tuple[str, ...] = ()  # data, models with their sizes, seeds
    main: Drawn | None = None  # the figure that stands beside the answer
    images: Drawn | None = None  # what the study does to images; stands below the answer
    tally: Tally = ()
    callouts: tuple[Section, ...]  # what changes the reading of all else
    sections: tuple[Section, ...]
    pair: tuple[Section, ...] = ()  # stand side by side, before the others

    @property
    def figures(self) -> tuple[Drawn, ...]:
        first = tuple(figure for figure in (self.main, self.images) if figure is not None)
        return first + tuple(figure for section in self.sections for figure in section.figures)


def content_of(records: StudyRecords, findings: Findings) -> Content:
    """Draw the figures and put everything in the report's order."""
    view, study, changes = View(records, findings), records.study, records.study.changes_after_first_look
    figures = drawn(view)
    figures += own_figures(records, first=len(figures) + 1)[0]
    cautions = cautions_of(records, findings)
    if changes:
        times = "a change" if len(changes) == 1 else counted(len(changes), "change")
        cautions += (f"This study has had {times} after results had been seen: see Changes after first look.",)
    gaps = Section("gaps", "Gaps: runs without a result", lines=findings.gaps)
    return Content(
        kind="report",
        title=title_of(records),
        kicker=f"Study {study.name}, scale {study.scale}; after {study.source}",
        heading=study.question,
        answer=findings.answer or NO_ANSWER,
        numbers=findings.numbers,
        conclusive=findings.conclusive,
        facts=facts_of(view),
        main=figures[0] if figures else None,
        images=next((figure for figure in figures[1:] if figure.section == "images"), None),
        tally=tally_of(rows_of(findings.claims)) if findings.conclusive else (),
        callouts=tuple(filter(None, [gaps, Section("warnings", "Caveats", lines=cautions)])),
        sections=tuple(filter(None, _sections(view, figures[1:]))),
    )


def facts_of(view: View) -> tuple[str, ...]:
    """What was trained on what: the data, the models with their parameters, the seeds."""
    study, data = view.study, view.study.data
    sizes = [int(row["train_size"]) for row in rows_of(view.findings.arms, known="train_size")]
    images = " to ".join(count(size) for size in dict.fromkeys((min(sizes), max(sizes)))) if sizes else NONE
    rows, models = rows_of(view.findings.arms, known="params"), list[tuple[ModelSpec, str]]()
    sizes_of = {row["arm"]: magnitude(row["params"]) for row in rows}
    for arm in study.all_arms:  # of arms of one model the first: the others differ in what they see or how they learn
        if arm.name in sizes_of and all(arm.model != model for model, _ in models):
            models.append((arm.model, f"{arm.name} {sizes_of[arm.name]}"))
    made = f"{counted(len(sizes_of), 'arm')}: " if len(models) < len(sizes_of) else ""
    names = [told for _, told in models]
    made += ("; " if any("," in name for name in names) else ", ").join(names)
    if len(models) > _MOST_MODELS:
        known = sorted(row["params"] for row in rows)
        made = f"{len(sizes_of)} arms, {magnitude(known[0])} to {magnitude(known[-1])}"
    told = [
        f"{data.title[:1].upper() + data.title[1:] if data.made else data.title}, {images} training images",
        _budget(view),
        f"{made} parameters" if models else "",
    ]
    return tuple(filter(None, [*told, f"n = {seeds_told(study)}"]))


def _budget(view: View) -> str:
    """How long trainings are: `700 updates of 128 images (1.6 passes)`; the least and the most where they differ."""
    found = [
        (recipe.resolved_updates(int(row["train_size"])), recipe.batch_size, int(row["train_size"]))
        for row in rows_of(view.findings.arms, known="train_size")
        for recipe in [view.study.recipe_of(view.study.arm(row["arm"]))]
    ]
    if not found:
        return ""
    updates, batches = (_span([each[place] for each in found], count) for place in (0, 1))
    passes = _span([of_arm * batch / size for of_arm, batch, size in found], _rounded)
    return f"{updates} updates of {batches} images ({passes} {'pass' if passes == '1' else 'passes'})"


def _rounded(passes: float) -> str:
    return count(passes) if passes >= 10 else plain(passes, 2)


def _span(numbers: Sequence[float], write: Callable[[float], str]) -> str:
    """The least and the most: `700`, `1,000 to 8,000`."""
    return " to ".join(dict.fromkeys(map(write, (min(numbers), max(numbers)))))


def cautions_of(records: StudyRecords, findings: Findings) -> tuple[str, ...]:
    """What changes the reading of the results, and which of the study file's own figures are left out."""
    return (*findings.warnings, *untold(records), *own_figures(records)[1])


def title_of(records: StudyRecords) -> str:
    """The study's name for people, with its scale."""
    return f"{words(records.study.name).capitalize()} ({records.study.scale})"


def drawn(view: View, most: int | None = None) -> list[Drawn]:
    """The figures that apply, the main one first; the first `most` of them, or all."""
    found = []
    with theme():
        for number, (name, section, drawing) in enumerate(islice(drawings(view), most), start=1):
            pixels = png(drawing.figure, dpi=_DPI, colours=256 if section in ("inside", "images") else _COLOURS)
            place = "inside" if section == "inside" else "figures"
            address = f"{place}/{name}.png"
            found.append(Drawn(name, section, drawing.title, drawing.text, number, address, pixels))
    return found


def _sections(view: View, figures: list[Drawn]) -> Iterator[Section]:
    """All that a report may have; those that are empty do not apply."""
    records, study = view.records, view.study
    parts = (
        ("claims", "Claims", (result_tables.claims_table(view),)),
        ("result", "Differences", ()),
        ("arms", "Arms", (result_tables.arms_table(view),)),
        (
            "sizes",
            "Training images",
            (crossings_table(view, by_level=False), result_tables.limits_table(view), result_tables.laws_table(view)),
        ),
        ("levels", "Series", (crossings_table(view, by_level=True),)),
        ("shifts", "Shifted images", (result_tables.shifts_table(view),)),
        ("patches", "One model for all sizes of patches", (result_tables.patches_table(view),)),
        ("few_shots", "Another task, few-shot", (result_tables.few_shots_table(view),)),
        ("by_class", "By class", (class_tables.classes_table(view), class_tables.confusions_table(view))),
        ("cost", "Cost", ()),
        ("learning", "Learning curves", ()),
        ("tuning", "Tuning", (origin_tables.tuning_table(view),)),
        ("inside", "Inside the models", ()),
        ("data", "Data", origin_tables.images_tables(records)),
        ("unfinished", "Runs without a result", (origin_tables.unfinished_table(view),)),
        ("own", "The study's own figures", ()),
    )
    for anchor, heading, tables in parts:
        shown = tuple(figure for figure in figures if figure.section == anchor)
        said = {"few_shots": view.findings.few_shot_crossings, "inside": tuple(figure.description for figure in shown)}
        lines = (said | {"by_class": view.findings.by_class.lines}).get(anchor, ())
        yield Section(anchor, heading, lines=lines, figures=shown, tables=tuple(tables), folded=anchor in _FOLDED)
    known = origin_tables.provenance_table(records), origin_tables.protocol_table(study)
    nothing = "" if known[0].rows else "Nothing is recorded of how these results were made."
    tables = (*known, origin_tables.looks_table(records))
    yield Section("provenance", "Provenance and settings", text=nothing, tables=tables, folded=True)
    yield Section("reproduce", "Reproduce", code=command_of(records))
    yield Section("changes", "Changes after first look", lines=study.changes_after_first_look)
    yield Section("cite", "Cite", text=_citation(records))


def command_of(records: StudyRecords) -> str:
    """The command that makes the results again."""
    command = records.provenance.get("command")
    if isinstance(command, list | tuple):
        return shlex.join(map(str, command))
    return str(command) if command else f"make study NAME={records.study.name} SCALE={records.study.scale}"


def _citation(records: StudyRecords) -> str:
    known, study = records.provenance, records.study
    version = f" {known['patchbench_version']}" if known.get("patchbench_version") else ""
    parts = (("git revision", "git_revision", None), ("data SHA-256", "data_hash", None), ("", "created", 10))
    made = "".join(f", {f'{name} {known[key]}'.strip()[:most]}" for name, key, most in parts if known.get(key))
    return (
        f"patchbench{version}, study {study.name} at scale {study.scale}{made}. "
        f"Please cite the source of the question too: {study.source}."
    )
