"""What is known of a data set before its images are loaded: its shape, its sizes, its identity. Needs no torch."""

from dataclasses import replace

from harness.data.folders import imagenet_facts, imagenet_hash, imagenet_listing, scan
from harness.data.named import named_hash
from harness.spec import FOLDER_SOURCES, IMAGENET, NAMED_SOURCES, DataSpec, InvalidInput, SourceFacts
from harness.spec.data import WHITE
from harness.spec.errors import require
from harness.spec.plural import counted


def facts(source: str, *, image_size: int | None = None, channels: int | None = None) -> SourceFacts:
    """Shape and sizes of a source; loads no images, but opens the headers of a folder's.

    `image_size` (pixels) is what images will be resized to; None for their own size, which an `imagefolder:PATH` has
    only where all its images are squares of one side. `channels` is what a folder's images will be read as; None for 1
    where all of them are grey, else 3. Raises `InvalidInput` for a folder that cannot be used.
    """
    name, _, path = source.partition(":")
    if name in NAMED_SOURCES:
        known = NAMED_SOURCES[name]
    elif name == "imagenet":
        known = imagenet_facts(imagenet_listing(path), channels) if path else IMAGENET
    else:
        known = scan(path).facts(image_size, channels)
    return known if image_size is None else replace(known, image_size=image_size)


def resolve(spec: DataSpec) -> tuple[DataSpec, SourceFacts]:
    """The spec with image_size, train_size and validation_size written out, and the facts at that image_size.

    With a folder, its channels too. Raises `InvalidInput` where the training part has too few images for both sizes,
    where a size is below the number of classes, and where a named source is to be read as photographs are.
    """
    name, _, path = spec.source.partition(":")
    is_plain = (spec.fit, spec.background, spec.channels) == ("crop", WHITE, None)
    require(
        name in FOLDER_SOURCES or is_plain,
        f"data.fit, data.background and data.channels say how photographs are read; {name} has none. Leave them out, "
        "or set data.source=imagefolder:PATH.",
    )
    is_tinted = len(set(spec.background)) > 1  # then transparent and padded parts have a colour
    known = facts(spec.source, image_size=spec.image_size, channels=spec.channels or (3 if is_tinted else None))
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
    channels = known.channels if path else None
    return replace(
        spec, image_size=known.image_size, train_size=size, validation_size=held_out, channels=channels
    ), known


def content_hash(spec: DataSpec) -> str:
    """SHA-256 identity of the source's images and labels, 64 hexadecimal digits.

    Known without reading data for the named sources; from the path and SHA-256 of each file for an `imagefolder:PATH`
    (kept in the cache by path, size and time of change); from the path and size of each file for an `imagenet:PATH`,
    which is too large to be read for this.
    """
    name, _, path = spec.source.partition(":")
    if name in NAMED_SOURCES:
        return named_hash(name)
    return imagenet_hash(path) if name == "imagenet" else scan(path).content_hash()
