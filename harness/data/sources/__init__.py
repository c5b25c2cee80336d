"""The sources of images, in files named as the kind of `data.source`, or as told here.

A file has `open_source(kind, argument)`, which gives a `Source`, and maybe `fetch(argument)`, which downloads it.
"""

from importlib import import_module
from types import ModuleType

from harness.data.source import Source
from harness.spec import NAMED_SOURCES, DataSpec
from harness.spec.data import parse_source

FILES = {
    **dict.fromkeys(NAMED_SOURCES, "named_files"),
    **dict.fromkeys(("imagefolder", "imagenet", "csv"), "folders"),
    **dict.fromkeys(("npz", "npy", "python"), "arrays"),
    **dict.fromkeys(("scattered", "cued"), "procedural"),
}


def find(of: DataSpec | str) -> Source:
    """The source of a specification, or of `data.source` alone, opened.

    Raises `InvalidInput` where it is not there or not usable.
    """
    spec = DataSpec(source=of) if isinstance(of, str) else of
    kind, argument = parse_source(spec.source)
    module = _module(kind)
    found: Source = module.open_source(kind, argument) if spec.made is None else module.open_made(spec)
    return found


def fetch(source: str) -> None:
    """Download what is missing, where the source can and the network allows."""
    kind, argument = parse_source(source)
    getattr(_module(kind), "fetch", str)(argument)


def _module(kind: str) -> ModuleType:
    return import_module(f"{__name__}.{FILES.get(kind, kind)}")
