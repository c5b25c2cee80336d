"""From a specification to what is known of its data, and to the splits of one training. Only `load` needs torch."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.data.source import Phase, Source
from harness.data.sources import find
from harness.spec import DataSpec, InvalidInput, SourceFacts
from harness.spec.data import WHITE
from harness.spec.errors import require
from harness.spec.plural import counted

if TYPE_CHECKING:
    import torch

    from harness.data.splits import AnySplit


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits of a source, by purpose."""

    train: "AnySplit"
    """What training subsets are taken from: the training part without what is held out."""
    validation: "AnySplit"
    """Held out of the training part, stratified, by `split_seed`."""
    facts: SourceFacts
    """At the image size of the specification."""
    hash: str
    """`content_hash` of the specification."""
    sealed_test: "AnySplit | None"
    """Use `test`."""

    @property
    def test(self) -> "AnySplit":
        """The test split: in the confirm phase only. Raises `RuntimeError` in a training of the tune phase."""
        if self.sealed_test is None:
            raise RuntimeError("The test split was asked for in the tune phase; selection may use validation only.")
        return self.sealed_test


def load(spec: DataSpec, *, device: "str | torch.device" = "cpu", phase: Phase = "tune") -> Dataset:
    """The data set of a training: decoded in memory on `device`, or streamed to it where memory does not hold it.

    In phase `tune` the test split is not even read. Raises `InvalidInput` for data that is missing, damaged or too
    small, naming the file and the remedy.
    """
    import torch

    source = find(spec.source)
    spec, facts = resolve(spec, source)
    splits = source.read(spec, facts, device=torch.device(device), phase=phase)
    return Dataset(splits["train"], splits["validation"], facts, source.content_hash(), splits.get("test"))


def facts(source: str, *, image_size: int | None = None, channels: int | None = None) -> SourceFacts:
    """Shape and sizes of a source; loads no images where it can, but opens the headers of photographs.

    `image_size` (pixels) is what images will be resized to; None for their own size, which photographs have only where
    all are squares of one side. `channels` is what photographs will be read as; None for 1 where all of them are grey,
    else 3. Raises `InvalidInput` for data that cannot be used.
    """
    return find(source).facts(image_size, channels)


def content_hash(spec: DataSpec) -> str:
    """SHA-256 identity of the source's images and labels, 64 hexadecimal digits; a source says how it is made."""
    return find(spec.source).content_hash()


def resolve(spec: DataSpec, source: Source | None = None) -> tuple[DataSpec, SourceFacts]:
    """The spec with image_size, train_size and validation_size written out, and the facts at that image_size.

    With photographs, their channels too. `source` is the specification's, where it has been opened. Raises
    `InvalidInput` where the training part has too few images for both sizes, where a size is below the number of
    classes, and where arrays are to be read as photographs are.
    """
    source = source or find(spec.source)
    require(
        source.photographs or (spec.fit, spec.background, spec.channels) == ("crop", WHITE, None),
        f"data.fit, data.background and data.channels say how photographs are read; {spec.source} has none. Leave them "
        "out, or set data.source=imagefolder:PATH.",
    )
    is_tinted = len(set(spec.background)) > 1  # then transparent and padded parts have a colour
    known = source.facts(spec.image_size, spec.channels or (3 if is_tinted else None))
    held_out = known.validation_images if spec.validation_size is None else spec.validation_size
    if known.own_validation and held_out > known.validation_images:
        raise InvalidInput(
            f"data.validation_size is {held_out}, but {spec.source} has {counted(known.validation_images, 'image')} of "
            "its own to validate on. Leave data.validation_size out for all of them, or lower it."
        )
    left = known.train_images - (0 if known.own_validation else held_out)
    size = left if spec.train_size is None else spec.train_size
    if size > left or size < 1:
        raise InvalidInput(
            f"data.train_size is {size if spec.train_size else 'all'} and data.validation_size {held_out}, but "
            f"{spec.source} has {counted(known.train_images, 'training image')}"
            f"{'' if known.own_validation else ' to take both from'}; "
            f"{f'at most {left} are left for training' if left > 0 else 'hold fewer out'}."
        )
    for field, value in (("train_size", size), ("validation_size", held_out)):
        if value < known.classes and not (field == "validation_size" and known.own_validation):
            raise InvalidInput(
                f"data.{field} is {value}, fewer than the {counted(known.classes, 'class')} of {spec.source}; "
                f"it must be at least {known.classes}, so that every class is there."
            )
    channels = known.channels if source.photographs and spec.source != "imagenet" else None
    return replace(
        spec, image_size=known.image_size, train_size=size, validation_size=held_out, channels=channels
    ), known
