"""What tables are made of: one description of their columns, from which page, Markdown and console are set."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.records import csv_text
from harness.spec.formats import number

NO_VERDICT = "none"  # of a verdict that is shown although nothing is to be concluded from it


@dataclass(frozen=True)
class Cell:
    """A cell's text and, where text does not sort as it should, the number to sort by."""

    text: str
    order: float | None = None
    colour: str = ""  # of a swatch before the text: the arm's colour in the figures
    verdict: str = ""


@dataclass(frozen=True)
class Column:
    """A column's heading and what it shows of a row; numbers stand at the right."""

    heading: str
    cell: Callable[[Any], Cell]
    numeric: bool = False
    folded: bool = False  # on the page it opens from the row's last cell


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    csv: str = ""  # the same as raw numbers, for download
    note: str = ""


Columns = Iterable[Column | None]


def make_table(
    name: str, caption: str, columns: Columns, rows: Iterable[Any], frame: pd.DataFrame | None = None, note: str = ""
) -> Table:
    """The table of some rows, with a frame to download; a column that is None does not apply."""
    shown = tuple(column for column in columns if column is not None)
    cells = tuple(tuple(column.cell(row) for column in shown) for row in rows)
    return Table(name, caption, shown, cells, "" if frame is None else csv_text.from_frame(frame), note)


def text_table(
    name: str, caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: int = 0
) -> Table:
    """A table of texts whose last `numbers` columns are numbers."""
    found, first = list(rows), len(headings) - numbers
    columns = tuple(Column(heading, Cell, place >= first) for place, heading in enumerate(headings))
    csv = csv_text.from_frame(pd.DataFrame(found, columns=list(headings)))
    return Table(name, caption, columns, tuple(tuple(map(Cell, row)) for row in found), csv)


def text_column(heading: str, key: str, *, folded: bool = False) -> Column:
    """A field as it is."""
    return Column(heading, lambda row: Cell(text_of(row[key])), folded=folded)


def number_column(
    heading: str, key: str, write: Callable[..., str], part: str = "", *, interval: bool = False
) -> Column:
    """A number (with its interval: `ci_low`, `ci_high`) of the row, or of another one that it holds as `part`."""

    def cell(row: Any) -> Cell:
        keys = (key, "ci_low", "ci_high") if interval else (key,)
        value, *bounds = ((row.get(part, {}) if part else row).get(name) for name in keys)
        return Cell(write(value, *bounds), number(value))

    return Column(heading, cell, numeric=True)


def json_rows(frame: pd.DataFrame) -> Any:
    """The rows of a frame for a program: numbers of ten digits, as in the tables, for the last differ by machine."""
    short = frame.map(lambda value: float(f"{value:.10g}") if isinstance(value, float) else value)
    return json.loads(short.to_json(orient="records", double_precision=15))


def text_of(value: Any) -> str:
    """A value of the records as text; empty where it is missing."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in sorted(value.items()))
    return "" if value is None or pd.isna(value) else str(value)


def linked(text: str) -> list[tuple[str, str]]:
    """Pieces of a text with the address of each arXiv number (empty for other pieces)."""
    pieces = re.split(r"\b(\d{4}\.\d{4,5})\b", text)
    return [(piece, f"https://arxiv.org/abs/{piece}" if i % 2 else "") for i, piece in enumerate(pieces) if piece]
