"""The models under study: one vision transformer, ResNets and a Swin transformer to compare it with, and others'.

`build` makes a model from its specification; `cost` counts what it holds and computes.
"""

from harness.models.cost import activation_bytes, attention_macs_per_image, macs_per_image, parameters
from harness.models.factory import build, family_of, outline
from harness.models.family import parameter_groups

__all__ = [
    "activation_bytes",
    "attention_macs_per_image",
    "build",
    "family_of",
    "macs_per_image",
    "outline",
    "parameter_groups",
    "parameters",
]
