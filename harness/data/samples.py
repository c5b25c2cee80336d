"""One image of a data set as a model sees it."""

from harness.data.sources import named_files
from harness.records.samples import Sample
from harness.spec import NAMED_SOURCES, DataSpec, InvalidInput


def sample(spec: DataSpec) -> Sample:
    """The first training image, (C, H, W), its pixels moved where the specification moves any, not normalised.

    Raises `InvalidInput` for data that is damaged, cannot be used or is not on this machine: downloads nothing.
    """
    import torch

    from harness.data.survey import EXAMPLE, load

    if (kind := spec.made.objects if spec.made else spec.kind) in NAMED_SOURCES:
        source = named_files.open_source(kind, "")
        if isinstance(source, named_files.PublishedSource) and source.where() is None:
            raise InvalidInput(f"{kind} is not on this machine")
    image: Sample = next(load(spec, seed=EXAMPLE).train.read([torch.tensor([0])]))[0][0].cpu().numpy()
    return as_moved(image, spec)


def as_moved(image: Sample, spec: DataSpec) -> Sample:
    """An image with its pixels moved as the specification says."""
    from harness.data.splits import moved_order

    order = moved_order(image.shape[-1], spec)
    return image if order is None else image.reshape(len(image), -1)[:, order.numpy()].reshape(image.shape)


def as_shifted(image: Sample, pixels: int) -> Sample:
    """An image moved to the right, fewer pixels than its side; what moves in is black, as in such a test."""
    import torch

    from harness.data.augmentation import translated

    shifted: Sample = translated(torch.from_numpy(image)[None], down=0, right=pixels)[0].numpy()
    return shifted
