"""Calling what a study file defines: it may fail in any way, and costs nothing but its own result."""

import contextlib
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from harness.records.files import sha256
from harness.records.run_table import StudyRecords
from harness.spec import canonical_json

T = TypeVar("T")

_MOST_TOLD = 300
"""Characters of an error's message that are told."""


def attempt(function: Callable[..., T], *arguments: Any) -> tuple[T | None, str]:
    """What a function gives and an empty text, or None and why it failed, with the line of its own file.

    What it prints goes to standard error.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return function(*arguments), ""
    except (Exception, SystemExit) as error:
        return None, f"{type(error).__name__}: {' '.join(str(error).split())[:_MOST_TOLD]}{_where(error, function)}"


def runs_of(records: StudyRecords) -> str:
    """SHA-256 of which confirm runs there are and how they ended: whether something was made from these."""
    return sha256(canonical_json(sorted(zip(records.runs["digest"], records.runs["status"], strict=True))).encode())


def _where(error: BaseException, function: Callable[..., Any]) -> str:
    """` (my_study.py, line 12)`: the function's own last line that led to the error."""
    code = getattr(function, "__code__", None)
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if code is not None and frame.filename == code.co_filename
    ]
    return f" ({Path(code.co_filename).name}, line {lines[-1]})" if code is not None and lines else ""
