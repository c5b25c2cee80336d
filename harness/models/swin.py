"""The Swin transformer's record; the model itself is in `swin_transformer`."""

from torch import nn

from harness.models.family import Family, Parts
from harness.spec import SwinSpec


def _build(spec: SwinSpec, **shape: int) -> nn.Module:
    from harness.models.swin_transformer import Swin  # torchvision takes as long to load as torch

    return Swin(spec, **shape)


_PARTS = Parts(stem="features.0", blocks=("features",), head="head", tables=("relative_position_bias_table",))

SWIN = Family(spec=SwinSpec, build=_build, parts=_PARTS)
