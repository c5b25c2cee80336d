"""Patchbench: a benchmarking and ablation harness for vision transformers."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.api import Report, load, load_study, results, run

__all__ = ["Report", "load", "load_study", "results", "run"]


def __getattr__(name: str) -> Any:
    """Load the Python interface when it is first used: the command line starts without pandas."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("harness.api"), name)
