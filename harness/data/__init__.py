"""The images a training sees: sources, splits, nested subsets, batches and batched augmentation.

`facts`, `resolve`, `content_hash` and `derive` need no torch; the other names load it when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.data.describe import content_hash, facts, resolve
from harness.data.seeds import derive

if TYPE_CHECKING:
    from harness.data.augmentation import augment, translated
    from harness.data.batches import Batches, normalisation
    from harness.data.inputs import Inputs, moved_order, prepare
    from harness.data.loading import Dataset, load
    from harness.data.splits import Split
    from harness.data.stream import StreamedSplit
    from harness.data.subsets import subset

_HOME = {
    "Batches": "batches",
    "Dataset": "loading",
    "Inputs": "inputs",
    "Split": "splits",
    "StreamedSplit": "stream",
    "augment": "augmentation",
    "load": "loading",
    "moved_order": "inputs",
    "normalisation": "batches",
    "prepare": "inputs",
    "subset": "subsets",
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
