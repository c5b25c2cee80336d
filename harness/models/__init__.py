"""The models under study: one vision transformer, and the ResNets and the Swin transformer it is compared with.

`build` makes a model from its specification; `cost` counts what it holds and computes.
"""

from harness.models.cost import (
    attention_macs_per_image,
    hidden_kernels,
    hidden_matrices,
    macs_per_image,
    no_decay,
    parameters,
)
from harness.models.factory import build

__all__ = [
    "attention_macs_per_image",
    "build",
    "hidden_kernels",
    "hidden_matrices",
    "macs_per_image",
    "no_decay",
    "parameters",
]
