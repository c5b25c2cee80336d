"""What tables are made of: cells, columns, and how values become cells."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.spec.formats import number


@dataclass(frozen=True)
class Cell:
    """A cell's text and, where text does not sort as it should, the number to sort by."""

    text: str
    order: float | None = None
    colour: str = ""
    """Of a swatch before the text: the arm's colour in the figures."""
    verdict: str = ""


@dataclass(frozen=True)
class Column:
    """A column's heading; numbers stand at the right."""

    heading: str
    numeric: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row."""

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    csv: str = ""
    """The same as raw numbers, for download."""
    note: str = ""


def cell(write: Callable[[Any], str], value: Any) -> Cell:
    """A value in words, sorted by its number."""
    return Cell(write(value), number(value))


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
