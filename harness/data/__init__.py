"""The images a training sees: sources, splits, nested subsets, batches and batched augmentation.

The names of `describe`, and `derive`, need no torch to be imported; the others load it when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.data.describe import Dataset, content_hash, facts, load, resolve
from harness.data.subsets import derive, subset

if TYPE_CHECKING:
    from harness.data.augmentation import augment, translated
    from harness.data.batches import Batches, normalisation
    from harness.data.inputs import Inputs, moved_order, prepare
    from harness.data.splits import Split, StreamedSplit

_HOME = {
    "Batches": "batches",
    "Inputs": "inputs",
    "Split": "splits",
    "StreamedSplit": "splits",
    "augment": "augmentation",
    "moved_order": "inputs",
    "normalisation": "batches",
    "prepare": "inputs",
    "translated": "augmentation",
}

__all__ = [
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
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
