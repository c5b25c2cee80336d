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


def attempt(function: Callable[..., T], *arguments: Any) -> tuple[T | None, str]:
    """What a function gives and an empty text, or None and why it failed, with the line of its own file.

    What it prints goes to standard error.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return function(*arguments), ""
    except (Exception, SystemExit) as error:
        file = getattr(getattr(function, "__code__", None), "co_filename", None)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        where = f" ({Path(str(file)).name}, line {lines[-1]})" if lines else ""
        return None, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}{where}"


def runs_of(records: StudyRecords) -> str:
    """SHA-256 of which confirm runs there are and how they ended: whether something was made from these."""
    return sha256(canonical_json(sorted(zip(records.runs["digest"], records.runs["status"], strict=True))).encode())
