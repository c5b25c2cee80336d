"""The models under study: one vision transformer, and the ResNets and the Swin transformer it is compared with.

`build` makes a model from its specification; `cost` counts what it holds and computes.
"""

from harness.models.cost import activation_bytes, attention_macs_per_image, macs_per_image, parameters
from harness.models.factory import build
from harness.models.roles import hidden_weights, no_decay

__all__ = [
    "activation_bytes",
    "attention_macs_per_image",
    "build",
    "hidden_weights",
    "macs_per_image",
    "no_decay",
    "parameters",
]
