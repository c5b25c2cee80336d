"""The images a training sees: sources, splits, nested subsets, batches and batched augmentation.

The names of `survey` and `subsets` need no torch to be imported; the others load it when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.data.subsets import derive, subset
from harness.data.survey import Dataset, content_hash, facts, load, resolve

if TYPE_CHECKING:
    from harness.data.augmentation import augment, translated
    from harness.data.splits import AnySplit, Batches, Inputs, Split, StreamedSplit, moved_order, normalisation, prepare

__all__ = [
    "AnySplit",
    "Batches",
    "Dataset",
    "Inputs",
    "Split",
    "StreamedSplit",
    "augment",
    "content_hash",
    "derive",
    "facts",
    "load",
    "moved_order",
    "normalisation",
    "prepare",
    "resolve",
    "subset",
    "translated",
]


def __getattr__(name: str) -> Any:
    for home in ("augmentation", "splits") if name in __all__ else ():
        module = import_module(f"{__name__}.{home}")
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
