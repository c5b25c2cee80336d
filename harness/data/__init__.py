"""The images a training sees: sources, splits, nested subsets, batches and batched augmentation.

What stands here needs no torch to be imported; `splits` and `augmentation` do.
"""

from harness.data.subsets import derive
from harness.data.survey import Dataset, content_hash, facts, load, resolve

__all__ = ["Dataset", "content_hash", "derive", "facts", "load", "resolve"]
