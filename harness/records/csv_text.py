"""Frames as CSV that a spreadsheet may open: equal frames give equal bytes, no cell becomes a formula."""

import pandas as pd
from pandas.api.types import is_numeric_dtype

_QUOTED_STARTS = ("=", "+", "-", "@", "\t", "\r", "'")  # signs of a formula; and of a text made safe


def from_frame(frame: pd.DataFrame) -> str:
    """The frame with a heading line; floats as %.10g, nothing for missing values."""
    texts = {
        str(name): column.map(_text, na_action="ignore")
        for name, column in frame.items()
        if not is_numeric_dtype(column)
    }
    return frame.assign(**texts).to_csv(index=False, float_format="%.10g", lineterminator="\n")


def _text(value: object) -> str:
    return safe(value) if isinstance(value, str) else f"{value:.10g}" if isinstance(value, float) else str(value)


def safe(text: str) -> str:
    """Text that a spreadsheet takes as text: a leading apostrophe where it would start a formula."""
    return f"'{text}" if text.startswith(_QUOTED_STARTS) else text


def as_written(cell: object) -> object:
    """A cell that was read back, as it was before `safe`."""
    return cell[1:] if isinstance(cell, str) and cell[:1] == "'" and cell[1:].startswith(_QUOTED_STARTS) else cell
