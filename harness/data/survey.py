"""What a data set holds: images of each part and class, sizes, modes, duplicates, and what was passed over."""

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.data.describe import content_hash, resolve
from harness.data.duplicates import MOST_BYTES, Keys, Place, file_keys, find, pixel_keys
from harness.data.folders import Listing, SizeNeeded, imagenet_listing, scan
from harness.data.photographs import look
from harness.data.subsets import Ints
from harness.records.data_facts import PARTS, ClassCount, DataFacts, shown
from harness.spec import NAMED_SOURCES, DataSpec

if TYPE_CHECKING:  # plans ask for an outline, and must not wait for torch
    from harness.data.loading import AnySplit, Dataset

MOST_LOOKED_AT = 1000
"""Files of a stream that are opened for their sizes and modes, spread evenly over all."""

CHECK_SIDE = 64
"""Pixels that images without a common size are compared at, where no size is asked for."""


def outline(spec: DataSpec) -> DataFacts:
    """What is known without decoding an image: all but duplicates, and but the classes of a named source.

    Raises `InvalidInput` for data that cannot be used.
    """
    spec, facts = resolve(spec)
    assert spec.validation_size is not None
    listing = _listing(spec)
    train = facts.train_images - (0 if facts.own_validation else spec.validation_size)
    known = DataFacts(
        source=spec.source,
        data_hash=content_hash(spec),
        train=train,
        validation=spec.validation_size,
        test=facts.test_images,
        origins=_origins(spec, listing),
    )
    if listing is None:
        return known
    return replace(
        known,
        classes=_class_counts(
            [shown(name) for name in listing.classes],
            {part: listing.labels[chosen] for part, chosen in listing.positions(spec).items()},
        ),
        outside=listing.outside,
        skipped=listing.skipped,
        **_headers(listing, streamed=_is_streamed(spec)),
    )


def survey(spec: DataSpec, data: "Dataset", *, thorough: bool = False) -> DataFacts:
    """All that is known of a data set that has been loaded in phase `confirm`.

    Images in memory are compared by their pixels, at the size that models see; streamed ones by the bytes of their
    files, of which those are read that share their size with another: not where that is more than `MOST_BYTES`, unless
    `thorough`. Raises `InvalidInput` where every test image is a training image.
    """
    known = outline(spec)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    labels = {part: split.labels.cpu().numpy() for part, split in splits.items()}
    if spec.source in NAMED_SOURCES:
        own, images = NAMED_SOURCES[spec.source], sum(map(len, labels.values()))
        known = replace(
            known,
            classes=_class_counts([str(label) for label in range(own.classes)], labels),
            sizes={f"{own.image_size}x{own.image_size}": images},
            distinct_sizes=1,
            modes={"L" if own.channels == 1 else "RGB": images},
        )
    compared, keys = _keys(data, list(splits.values()), thorough=thorough)
    if keys is None:
        return known
    return replace(known, duplicates=find(spec.source, compared, keys, _places(spec, labels)))


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


def _is_streamed(spec: DataSpec) -> bool:
    return spec.source.startswith("imagenet:")


def _listing(spec: DataSpec) -> Listing | None:
    name, _, path = spec.source.partition(":")
    if name == "imagefolder":
        return scan(path)
    return imagenet_listing(path) if path else None


def _origins(spec: DataSpec, listing: Listing | None) -> dict[str, str]:
    if listing is None:
        return {"validation": "held out of the training part"}
    if not listing.folders:
        return {"validation": "held out", "test": "held out"}
    found = {"validation": f"held out of {listing.folders['train']}/"}
    found |= {part: f"{name}/" for part, name in listing.folders.items()}
    own = listing.validation
    if own is not None and len(own) != spec.validation_size:
        found["validation"] += f", {len(own):,} in all"
    return found


def _class_counts(names: list[str], labels: dict[str, Ints]) -> tuple[ClassCount, ...]:
    counts = [np.bincount(labels[part], minlength=len(names)).tolist() for part in PARTS]
    rows = zip(names, *counts, strict=True)
    return tuple(ClassCount(name=name, train=train, validation=held, test=test) for name, train, held, test in rows)


def _headers(listing: Listing, *, streamed: bool) -> dict[str, Any]:
    """Sizes and modes of the files; of a sample, where they are too many to be opened."""
    files = listing.files
    if streamed:
        files = files[:: -(-len(files) // MOST_LOOKED_AT)]
        found = [look(listing.root / name) for name, _ in files]
    else:
        found = [file.header for file in listing.looked_at()]
    sizes = Counter("{}x{}".format(*header.size) for header in found)
    return {
        "sizes": dict(sizes.most_common(5)),
        "distinct_sizes": len(sizes),
        "modes": dict(Counter(header.mode for header in found).most_common()),
        "looked_at": len(found) if len(found) < len(listing.files) else None,
        "several_frames": sum(header.has_more for header in found),
    }


def _keys(data: "Dataset", splits: "list[AnySplit]", *, thorough: bool) -> tuple[str, Keys | None]:
    """What of the images is compared, and the keys of all of them, part after part."""
    from harness.data.stream import StreamedSplit

    if isinstance(data.train, StreamedSplit):
        files = [name for split in splits if isinstance(split, StreamedSplit) for name in split.files]
        return "bytes of the files", file_keys(data.train.root, files, most_bytes=None if thorough else MOST_BYTES)
    images = [split.images.cpu().numpy() for split in splits if not isinstance(split, StreamedSplit)]
    return f"pixels at {data.facts.image_size} px", [key for part in images for key in pixel_keys(part)]


def _places(spec: DataSpec, labels: dict[str, Ints]) -> list[Place]:
    """Part, class and name of every image, part after part."""
    listing = _listing(spec)
    if listing is None:
        return [
            Place(part, int(label), f"{part}[{at}]")
            for part, of_part in labels.items()
            for at, label in enumerate(of_part)
        ]
    positions, files = listing.positions(resolve(spec)[0]), listing.files
    return [Place(part, files[at][1], files[at][0]) for part in PARTS for at in positions[part]]
