"""What a data set holds: images of each part and class, sizes, modes, duplicates, and what was passed over."""

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.data.describe import resolve
from harness.data.duplicates import MOST_BYTES, Keys, file_keys, pixel_keys
from harness.data.duplicates import find as find_twice
from harness.data.photograph_source import class_counts
from harness.data.source import SizeNeeded, Source
from harness.data.sources import find
from harness.records.data_facts import PARTS, DataFacts
from harness.spec import DataSpec, SourceFacts

if TYPE_CHECKING:  # plans ask for an outline, and must not wait for torch
    from harness.data.loading import Dataset
    from harness.data.stream import AnySplit

CHECK_SIDE = 64
"""Pixels that images without a common size are compared at, where no size is asked for."""


def outline(spec: DataSpec) -> DataFacts:
    """What is known without decoding an image: all but duplicates, and but the classes of arrays.

    Raises `InvalidInput` for data that cannot be used.
    """
    source = find(spec.source)
    return _outline(source, *resolve(spec, source))


def _outline(source: Source, spec: DataSpec, facts: SourceFacts) -> DataFacts:
    assert spec.validation_size is not None
    return DataFacts(
        source=spec.source,
        data_hash=source.content_hash(),
        train=facts.train_images - (0 if facts.own_validation else spec.validation_size),
        validation=spec.validation_size,
        test=facts.test_images,
        **source.outline(spec),
    )


def survey(spec: DataSpec, data: "Dataset", *, thorough: bool = False) -> DataFacts:
    """All that is known of a data set that has been loaded in phase `confirm`.

    Images in memory are compared by their pixels, at the size that models see; streamed ones by the bytes of their
    files, of which those are read that share their size with another: not where that is more than `MOST_BYTES`, unless
    `thorough`. Raises `InvalidInput` where every test image is a training image.
    """
    source = find(spec.source)
    spec, facts = resolve(spec, source)
    known = _outline(source, spec, facts)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    labels = {part: split.labels.cpu().numpy() for part, split in splits.items()}
    if not source.photographs:
        side, images = source.facts().image_size, sum(map(len, labels.values()))
        known = replace(
            known,
            classes=class_counts([str(label) for label in range(facts.classes)], labels),
            sizes={f"{side}x{side}": images},
            distinct_sizes=1,
            modes={"L" if facts.channels == 1 else "RGB": images},
        )
    compared, keys = _keys(data, [splits[part] for part in PARTS], thorough=thorough)
    if keys is None:
        return known
    return replace(known, duplicates=find_twice(spec.source, compared, keys, source.places(spec, labels)))


def check(spec: DataSpec) -> tuple[DataFacts, str]:
    """Load a source and look at all of it; also says what a run must be given that this was not.

    Raises `InvalidInput` for data that cannot be used.
    """
    from harness.data.loading import load

    lacking = ""
    try:
        resolve(spec)
    except SizeNeeded as error:
        spec, lacking = replace(spec, image_size=CHECK_SIDE), str(error)
    return survey(spec, load(spec, phase="confirm"), thorough=True), lacking


def _keys(data: "Dataset", splits: "list[AnySplit]", *, thorough: bool) -> tuple[str, Keys | None]:
    """What of the images is compared, and the keys of all of them, part after part."""
    from harness.data.stream import StreamedSplit

    if isinstance(data.train, StreamedSplit):
        pictures = [picture for split in splits if isinstance(split, StreamedSplit) for picture in split.pictures]
        return "bytes of the files", file_keys(pictures, most_bytes=None if thorough else MOST_BYTES)
    images = [split.images.cpu().numpy() for split in splits if not isinstance(split, StreamedSplit)]
    return f"pixels at {data.facts.image_size} px", [key for part in images for key in pixel_keys(part)]
