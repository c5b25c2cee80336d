"""Frames as CSV that a spreadsheet may open: equal frames give equal bytes, no cell becomes a formula."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

_BATCH = 5000
"""Rows whose cells are held as texts at a time."""

_QUOTED_STARTS = ("=", "+", "-", "@", "\t", "\r", "'")
"""The signs of a formula; and the apostrophe itself, so that the one put before a text can be told from its own."""


def from_frame(frame: pd.DataFrame) -> str:
    """The frame with a heading line; floats as %.10g, nothing for missing values."""
    return "".join(parts(frame))


def parts(frame: pd.DataFrame) -> Iterator[str]:
    """The text of `from_frame`, some thousand rows at a time."""
    yield ",".join(_quoted(_text(str(name))) for name in frame.columns) + "\n"
    for at in range(0, len(frame), _BATCH):
        yield _rows(frame.iloc[at : at + _BATCH])


def _rows(frame: pd.DataFrame) -> str:
    columns = [_cells(frame.iloc[:, place]) for place in range(frame.shape[1])]
    return "".join(f"{','.join(cells)}\n" for cells in zip(*columns, strict=True))


def _cells(column: "pd.Series[Any]") -> list[str]:
    """The texts of a column; what is missing is looked for once, not cell by cell."""
    pairs = zip(column.tolist(), column.isna().tolist(), strict=True)
    return ["" if is_missing else _quoted(_text(value)) for value, is_missing in pairs]


def safe(text: str) -> str:
    """Text that a spreadsheet takes as text: a leading apostrophe where it would start a formula."""
    return f"'{text}" if text.startswith(_QUOTED_STARTS) else text


def as_written(cell: object) -> object:
    """A cell that was read back, as it was before `safe`."""
    return cell[1:] if isinstance(cell, str) and cell[:1] == "'" and cell[1:].startswith(_QUOTED_STARTS) else cell


def column_as_written(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """A column that was read back, as it was before `safe`."""
    if isinstance(column.dtype, pd.StringDtype) and not column.str.startswith("'").any():
        return column
    return column.map(as_written, na_action="ignore")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return safe(value)
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _quoted(text: str) -> str:
    """Quoted where it must be; Python's csv module leaves a lone carriage return bare, which breaks the row."""
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\n\r') else text
