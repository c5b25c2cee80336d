"""Tables of how the results came about: the audit of the tuning, runs without a result, provenance."""

from harness.analysis.findings import Findings
from harness.records import csv_text
from harness.records.run_table import StudyRecords
from harness.report.cells import Cell, Column, Table, cell, text_of
from harness.report.figures.looks import marks
from harness.report.frames import Row, rows_of, sizes_of
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


def audit_table(records: StudyRecords, findings: Findings) -> Table:
    """Tuning per arm: what was spent, what was chosen, and how near to the edge of its range."""
    looks, sized = marks(records.study), bool(sizes_of(findings))
    chosen = [str(name) for name in findings.audit.columns if str(name).startswith("p.")]
    rows = []
    for row in rows_of(findings.audit):
        size = [cell(count, row["train_size"])] if sized else []
        rows.append(
            (
                Cell(str(row["arm"]), colour=looks[row["arm"]].colour),
                *size,
                cell(count, row["trials"]),
                cell(count, row["completed"]),
                cell(count, row["images"]),
                cell(percent, row["best_validation_accuracy"]),
                *(_chosen(row, name) for name in chosen),
                Cell(text_of(row["at_edge"]) or "none"),
            )
        )
    headings = [
        "Trials",
        "Completed",
        "Images seen",
        "Best validation accuracy",
    ]
    headings += [f"Chosen {words(name.removeprefix('p.'))} (to edge)" for name in chosen]
    columns = (
        Column("Arm"),
        *(Column(heading, numeric=True) for heading in (["Training images"] if sized else []) + headings),
        Column("On the edge of its range"),
    )
    note = "To edge: distance of the chosen value to the nearer end of its range, as a share of the range's width."
    if (findings.audit["completed"] < findings.audit["trials"]).any():
        note += " Trials that did not complete count among the trials of their arm."
    return Table(
        "tuning",
        f"Tuning audit: {_equality(findings)}",
        columns,
        tuple(rows),
        csv_text.from_frame(findings.audit),
        note,
    )


def _equality(findings: Findings) -> str:
    """What the search spent on every arm of a training size, if it was the same."""
    by_size = findings.audit.groupby("train_size", dropna=False)["trials"].nunique()
    return "the same number of trials for every arm" if (by_size == 1).all() else "the numbers of trials differ"


def _chosen(row: Row, name: str) -> Cell:
    value = row[name]
    edge = number(row.get(f"edge.{name.removeprefix('p.')}"))
    text = text_of(value) if isinstance(value, str | bool) else plain(value)
    return Cell(text if edge is None else f"{text} ({percent(edge, 0)})", number(value))


def unfinished_table(records: StudyRecords, findings: Findings) -> Table:
    """Planned runs without a result, by how they ended."""
    looks, sized = marks(records.study), bool(sizes_of(findings))
    statuses = ("diverged", "out_of_memory", "failed", "missing")
    rows = [
        (
            Cell(str(row["arm"]), colour=looks[row["arm"]].colour),
            *([cell(count, row["train_size"])] if sized else []),
            cell(count, row["planned"]),
            *(cell(count, row[status]) for status in statuses),
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


def provenance_table(records: StudyRecords) -> Table:
    """Where the numbers come from: what of it is known."""
    known = records.provenance
    rows = []
    for key, heading in _PROVENANCE.items():
        text = duration(known.get(key)) if key == "wall_seconds" else text_of(known.get(key))
        if text in ("", NONE):
            continue
        if key == "git_revision" and known.get("git_dirty"):
            text += " (with uncommitted changes)"
        elif key == "git_revision" and known.get("git_dirty", False) is None and not text.startswith("unknown"):
            text += " (whether with uncommitted changes is unknown)"
        rows.append((Cell(heading), Cell(text)))
    return Table("provenance", "What the results were made with", (Column("What"), Column("Value")), tuple(rows))
