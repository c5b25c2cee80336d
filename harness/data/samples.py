"""One image of a data set as a model sees it."""

import numpy as np
import numpy.typing as npt

from harness.data.sources import named_files
from harness.spec import NAMED_SOURCES, DataSpec, InvalidInput


def sample(spec: DataSpec) -> npt.NDArray[np.uint8]:
    """The first training image, (C, H, W), its pixels moved where the specification moves any, not normalised.

    Raises `InvalidInput` for data that is damaged, cannot be used or is not on this machine: downloads nothing.
    """
    import torch

    from harness.data.splits import moved_order
    from harness.data.survey import EXAMPLE, load

    if (kind := spec.made.objects if spec.made else spec.kind) in NAMED_SOURCES:
        source = named_files.open_source(kind, "")
        if isinstance(source, named_files.PublishedSource) and source.where() is None:
            raise InvalidInput(f"{kind} is not on this machine")
    image = next(load(spec, seed=EXAMPLE).train.read([torch.tensor([0])]))[0][0].cpu()
    order = moved_order(image.shape[-1], spec)
    return (image if order is None else image.flatten(1)[:, order].view_as(image)).numpy()
