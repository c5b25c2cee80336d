"""The tables of the data: what it holds and what was passed over, and the images of each class."""

import pandas as pd

from harness.records import csv_text
from harness.records.data_facts import PART_NAMES, DataFacts, of_provenance
from harness.records.run_table import StudyRecords
from harness.report.cells import Cell, Column, Table, cell
from harness.spec import to_plain
from harness.spec.formats import count

_MOST_CLASSES = 50
"""Rows of the table; the file to download has all."""


def images_tables(records: StudyRecords) -> tuple[Table, ...]:
    """Two tables for each data set; none for results of versions that kept nothing of it."""
    return tuple(
        table
        for number, facts in enumerate(of_provenance(records.provenance), start=1)
        for table in (_facts_table(facts, number), _classes_table(facts, number))
    )


def _facts_table(facts: DataFacts, number: int) -> Table:
    rows = [*facts.lines(), ("SHA-256", facts.data_hash)]
    return Table(
        f"data-{number}",
        f"Images of {facts.source}",
        (Column("What"), Column("Value")),
        tuple((Cell(heading), Cell(text)) for heading, text in rows),
        csv_text.from_frame(pd.DataFrame(rows, columns=["what", "value"])),
    )


def _classes_table(facts: DataFacts, number: int) -> Table:
    columns = ("Class", *(f"{name.capitalize()} images" for name in PART_NAMES.values()))
    more = len(facts.classes) - _MOST_CLASSES
    return Table(
        f"classes-{number}",
        f"Images of each class of {facts.source}",
        tuple(Column(name, numeric=name != "Class") for name in columns),
        tuple(
            (Cell(row.name), cell(count, row.train), cell(count, row.validation), cell(count, row.test))
            for row in facts.classes[:_MOST_CLASSES]
        ),
        csv_text.from_frame(pd.DataFrame(to_plain(facts.classes), columns=["name", *PART_NAMES])),
        f"And {count(more)} more classes, in the file to download." if more > 0 else "",
    )
