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
    """The lines of `from_frame`."""
    yield ",".join(map(_cell, map(str, frame.columns))) + "\n"
    for at in range(0, len(frame), _BATCH):
        columns = [frame.iloc[at : at + _BATCH, place] for place in range(frame.shape[1])]
        cells = [map(_cell, column.astype(object).where(column.notna(), "").tolist()) for column in columns]
        yield from (",".join(row) + "\n" for row in zip(*cells, strict=True))


def _cell(value: Any) -> str:
    """Quoted where it must be; Python's csv module leaves a lone carriage return bare, which breaks the row."""
    text = safe(value) if isinstance(value, str) else f"{value:.10g}" if isinstance(value, float) else str(value)
    return '"' + text.replace('"', '""') + '"' if any(sign in text for sign in ',"\n\r') else text


def safe(text: str) -> str:
    """Text that a spreadsheet takes as text: a leading apostrophe where it would start a formula."""
    return f"'{text}" if text.startswith(_QUOTED_STARTS) else text


def as_written(cell: object) -> object:
    """A cell that was read back, as it was before `safe`."""
    return cell[1:] if isinstance(cell, str) and cell[:1] == "'" and cell[1:].startswith(_QUOTED_STARTS) else cell
