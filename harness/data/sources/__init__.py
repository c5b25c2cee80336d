"""The sources of images, in files named as the kind of `data.source`, or as told here.

A file has `open_source(kind, argument)`, which gives a `harness.data.source.Source`. It may have `fetch(argument)`,
which downloads what is missing.
"""

from importlib import import_module
from types import ModuleType

from harness.data.source import Source
from harness.spec import NAMED_SOURCES
from harness.spec.data import parse_source

_FILES = {
    **dict.fromkeys(NAMED_SOURCES, "named_files"),
    **dict.fromkeys(("imagefolder", "imagenet", "csv"), "folders"),
    **dict.fromkeys(("npz", "npy", "python"), "arrays"),
}
"""Files of another name than their kind."""


def find(source: str) -> Source:
    """The source that `data.source` names, opened. Raises `InvalidInput` where it is not there or not usable."""
    kind, argument = parse_source(source)
    found: Source = _module(kind).open_source(kind, argument)
    return found


def fetch(source: str) -> None:
    """Download what is missing, where the source can and the network allows."""
    kind, argument = parse_source(source)
    getattr(_module(kind), "fetch", str)(argument)


def _module(kind: str) -> ModuleType:
    return import_module(f"{__name__}.{_FILES.get(kind, kind)}")
