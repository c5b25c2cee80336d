"""Tables of how the results came about: tuning, runs without a result, the data's images, provenance."""

from collections.abc import Callable

import pandas as pd

from harness.analysis.findings import Findings
from harness.records import csv_text
from harness.records.data_facts import PART_NAMES, DataFacts, of_provenance
from harness.records.run_table import StudyRecords
from harness.report.figures.unfinished_runs import UNFINISHED, unfinished_rows
from harness.report.frames import Row
from harness.report.result_tables import arm_column, size_column
from harness.report.table import Cell, Column, Table, make_table, number_column, text_of, text_table
from harness.spec import to_plain
from harness.spec.formats import NONE, count, duration, number, percent, plain, words

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
    "wall_seconds": "Wall time of the last launch",
}
_MOST_CLASSES = 50
"""Rows of the table of classes; the file to download has all."""


def tuning_table(records: StudyRecords, findings: Findings) -> Table:
    """Tuning per arm: what was spent, what was chosen, and how near to the edge of its range."""
    audit = findings.audit
    chosen = [str(name).removeprefix("p.") for name in audit.columns if str(name).startswith("p.")]
    columns = (
        arm_column(records.study),
        size_column(findings),
        number_column("Trials", "trials", count),
        number_column("Completed", "completed", count),
        number_column("Images seen", "images", count),
        number_column("Best validation accuracy", "best_validation_accuracy", percent),
        *(Column(f"Chosen {words(name)} (to edge)", _chosen(name), numeric=True) for name in chosen),
        Column("On the edge of its range", lambda row: Cell(text_of(row["at_edge"]) or "none")),
    )
    note = "To edge: distance of the chosen value to the nearer end of its range, as a share of the range's width."
    if (audit["completed"] < audit["trials"]).any():
        note += " Trials that did not complete count among the trials of their arm."
    trials = audit.groupby("train_size", dropna=False)["trials"]
    same = (trials.min() == trials.max()).all()
    spent = "the same number of trials for every arm" if same else "the numbers of trials differ"
    rows = audit.to_dict("records")
    return make_table("tuning", f"Tuning audit: {spent}", columns, rows, csv=csv_text.from_frame(audit), note=note)


def _chosen(name: str) -> Callable[[Row], Cell]:
    def cell(row: Row) -> Cell:
        value, edge = row[f"p.{name}"], number(row.get(f"edge.{name}"))
        return Cell(plain(value) if edge is None else f"{plain(value)} ({percent(edge, 0)})", number(value))

    return cell


def unfinished_table(records: StudyRecords, findings: Findings) -> Table:
    """Planned runs without a result, by how they ended."""
    ended = (number_column(words(status).capitalize(), status, count) for status in UNFINISHED)
    columns = (arm_column(records.study), size_column(findings), number_column("Planned", "planned", count), *ended)
    return make_table("unfinished", "Confirm runs without a result", columns, unfinished_rows(findings))


def provenance_table(records: StudyRecords) -> Table:
    """Where the numbers come from: what of it is known."""
    known = records.provenance
    rows = []
    for key, heading in _PROVENANCE.items():
        text = duration(known.get(key)) if key == "wall_seconds" else text_of(known.get(key))
        if key == "git_revision" and known.get("git_dirty"):
            text += " (with uncommitted changes)"
        elif key == "git_revision" and known.get("git_dirty", False) is None and not text.startswith("unknown"):
            text += " (whether with uncommitted changes is unknown)"
        if text not in ("", NONE):
            rows.append((heading, text))
    return text_table("provenance", "What the results were made with", ("What", "Value"), rows)


def images_tables(records: StudyRecords) -> tuple[Table, ...]:
    """Two tables for each data set: what it holds and what was passed over, and the images of each class.

    None for results of versions that kept nothing of it.
    """
    known = enumerate(of_provenance(records.provenance), start=1)
    return tuple(make(facts, place) for place, facts in known for make in (_facts_table, _classes_table))


def _facts_table(facts: DataFacts, place: int) -> Table:
    rows = [*facts.lines(), ("SHA-256", facts.data_hash)]
    csv = csv_text.from_frame(pd.DataFrame(rows, columns=["what", "value"]))
    return text_table(f"data-{place}", f"Images of {facts.source}", ("What", "Value"), rows, csv=csv)


def _classes_table(facts: DataFacts, place: int) -> Table:
    rows, more = to_plain(facts.classes), len(facts.classes) - _MOST_CLASSES
    columns = (
        Column("Class", lambda row: Cell(row["name"])),
        *(number_column(f"{name.capitalize()} images", part, count) for part, name in PART_NAMES.items()),
    )
    csv = csv_text.from_frame(pd.DataFrame(rows, columns=["name", *PART_NAMES]))
    note = f"And {count(more)} more classes, in the file to download." if more > 0 else ""
    caption = f"Images of each class of {facts.source}"
    return make_table(f"classes-{place}", caption, columns, rows[:_MOST_CLASSES], csv=csv, note=note)
