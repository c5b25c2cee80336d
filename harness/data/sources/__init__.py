"""The sources of images, in files named as the kind of `data.source`, or as told here.

A file has `open_source(kind, argument)`, which gives a `harness.data.source.Source`. It may have `fetch(argument)`,
which downloads what is missing.
"""

from importlib import import_module
from types import ModuleType

from harness.data.source import Source
from harness.spec.data import parse_source

_FILES = {
    **dict.fromkeys(("fashion_mnist", "cifar10", "cifar100"), "named_files"),
    **dict.fromkeys(("imagefolder", "imagenet"), "folders"),
    **dict.fromkeys(("npz", "npy"), "array_files"),
    "csv": "csv_table",
}
"""Files of another name than their kind."""


def find(source: str) -> Source:
    """The source that `data.source` names, opened. Raises `InvalidInput` where it is not there or not usable."""
    module, kind, argument = _module(source)
    found: Source = module.open_source(kind, argument)
    return found


def fetch(source: str) -> None:
    """Download what is missing, where the source can and the network allows."""
    module, _, argument = _module(source)
    if hasattr(module, "fetch"):
        module.fetch(argument)


def _module(source: str) -> tuple[ModuleType, str, str]:
    kind, argument = parse_source(source)
    return import_module(f"{__name__}.{_FILES.get(kind, kind)}"), kind, argument
