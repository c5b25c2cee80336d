"""What a data set holds: images of each part and class, sizes, modes, duplicates, and what was passed over."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from harness.data.describe import load, resolve
from harness.data.photograph_source import class_counts
from harness.data.source import SizeNeeded, Source
from harness.data.sources import find
from harness.records.data_facts import PARTS, DataFacts, Duplicates, shown
from harness.spec import DataSpec, InvalidInput, SourceFacts
from harness.spec.plural import counted

if TYPE_CHECKING:  # plans ask for an outline, and must not wait for torch
    from harness.data.describe import Dataset
    from harness.data.splits import AnySplit

CHECK_SIDE = 64
"""Pixels that images without a common size are compared at, where no size is asked for."""

MOST_BYTES = 2**32
"""Files that are hashed for nothing else are, for comparison, up to this many bytes, where not all are asked for."""


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
    files: not where more than `MOST_BYTES` would be read for it, unless `thorough`. Raises `InvalidInput` where every
    test image is a training image.
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
    keys = _keys(source, splits, most_bytes=None if thorough else MOST_BYTES)
    if keys is None:
        return known
    names = source.names(spec)
    places = [
        (key, part, int(label), names[part][at] if names else f"{part}[{at}]")
        for part in PARTS
        for at, (key, label) in enumerate(zip(keys[part], labels[part], strict=True))
    ]
    compared = f"pixels at {facts.image_size} px" if hasattr(data.train, "images") else "bytes of the files"
    return replace(known, duplicates=_duplicates(spec.source, compared, places))


def check(spec: DataSpec) -> tuple[DataFacts, str]:
    """Load a source and look at all of it; also says what a run must be given that this was not.

    Raises `InvalidInput` for data that cannot be used.
    """
    lacking = ""
    try:
        resolve(spec)
    except SizeNeeded as error:
        spec, lacking = replace(spec, image_size=CHECK_SIDE), str(error)
    return survey(spec, load(spec, phase="confirm"), thorough=True), lacking


def _keys(source: Source, splits: "Mapping[str, AnySplit]", *, most_bytes: int | None) -> dict[str, list[str]] | None:
    """What is equal for equal images, of those of each split; None where it takes too much reading."""
    from harness.data.splits import Split

    hashes: list[str] | None = None
    keys: dict[str, list[str]] = {}
    for part, split in splits.items():
        if isinstance(split, Split):
            pixels = np.ascontiguousarray(split.images.cpu().numpy())
            keys[part] = [hashlib.blake2b(image.data, digest_size=16).hexdigest() for image in pixels]
        else:
            hashes = hashes or split.source.hashes(most_bytes)
            if hashes is None:
                return None
            keys[part] = [hashes[at] for at in split.positions]
    return keys


def _duplicates(source: str, compared: str, images: Sequence[tuple[str, str, int, str]]) -> Duplicates:
    """What is there more than once, of (key, part, class, name) of every image.

    Raises `InvalidInput` where every test image is a training image, held out or not: there is nothing to test on.
    """
    import pandas as pd

    every = pd.DataFrame(images, columns=["key", "part", "label", "name"])
    twice = every[every.duplicated("key", keep=False)]
    known = twice[twice["part"] != "test"]["key"]
    leaked = twice[(twice["part"] == "test") & twice["key"].isin(known)]
    held_out = twice[(twice["part"] == "validation") & twice["key"].isin(twice[twice["part"] == "train"]["key"])]
    relabelled = twice[twice.groupby("key")["label"].transform("nunique") > 1]
    tested = int((every["part"] == "test").sum())
    if len(leaked) == tested > 0:
        raise InvalidInput(
            f"All {counted(tested, 'test image')} of {source} are training images, too (the same {compared}): there is "
            "nothing to test on. Put other images into the test part."
        )
    names = pd.concat([leaked, relabelled, twice]).drop_duplicates("key")["key"]
    ends = twice.groupby("key")["name"].agg(["first", "last"]).loc[names.head(5)]
    return Duplicates(
        compared=compared,
        test_in_train=len(leaked),
        validation_in_train=len(held_out),
        relabelled=len(relabelled),
        repeated=int(every.duplicated("key").sum()),
        first=tuple(shown(f"{last} = {first}") for first, last in ends.itertuples(index=False)),
    )
