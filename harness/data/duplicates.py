"""Images that are there more than once: found by their pixels in memory, by the bytes of their files in a stream."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.data.photographs import Picture, picture_hash, picture_size
from harness.records.data_facts import Duplicates, shown
from harness.spec import InvalidInput

MOST_BYTES = 2**32
"""Files of equal size are read for comparison up to this many bytes in all, where not all are asked for."""

Keys = Sequence[bytes]
"""What is equal for equal images, one per image."""


def pixel_keys(images: npt.NDArray[np.uint8]) -> Keys:
    """A hash of each image of uint8 (N, C, H, W): some 0.1 s for 70,000 of 28 x 28 pixels."""
    whole = np.ascontiguousarray(images)
    return [hashlib.blake2b(image.data, digest_size=16).digest() for image in whole]


def file_keys(pictures: Sequence[Picture], *, most_bytes: int | None = MOST_BYTES) -> Keys | None:
    """The size of each file, with the hash of its bytes where another has that size.

    None where more than `most_bytes` would be read for it; `most_bytes` None reads whatever it takes.
    """
    sizes = [picture_size(picture) for picture in pictures]
    often = Counter(sizes)
    alike = [size if often[size] > 1 else 0 for size in sizes]
    if most_bytes is not None and sum(alike) > most_bytes:
        return None
    return [
        b"%d %s" % (size, picture_hash(picture).encode() if same else b"")
        for picture, size, same in zip(pictures, sizes, alike, strict=True)
    ]


class Place(NamedTuple):
    """Where an image stands."""

    part: str
    label: int
    name: str


def find(source: str, compared: str, keys: Keys, places: Sequence[Place]) -> Duplicates:
    """Count what is there more than once, by the key of each image and its place in `train`, `validation` or `test`.

    Raises `InvalidInput` where every test image is a training image, held out or not: there is nothing to test on.
    """
    found: defaultdict[bytes, list[Place]] = defaultdict(list)
    for key, place in zip(keys, places, strict=True):
        found[key].append(place)
    twice = [there for there in found.values() if len(there) > 1]
    leaked = [there for there in twice if _in(there, "test") and _in(there, "train", "validation")]
    relabelled = [there for there in twice if len({place.label for place in there}) > 1]
    held_out = [there for there in twice if _in(there, "validation") and _in(there, "train")]
    known, tested = sum(_in(there, "test") for there in leaked), _in(places, "test")
    if known == tested > 0:
        raise InvalidInput(
            f"{'The only test image' if tested == 1 else f'All {tested:,} test images'} of {source} "
            f"{'is a training image' if tested == 1 else 'are training images'}, too (the same {compared}): there is "
            "nothing to test on. Put other images into the test part."
        )
    examples = dict.fromkeys(f"{there[-1].name} = {there[0].name}" for there in (*leaked, *relabelled, *twice))
    return Duplicates(
        compared=compared,
        test_in_train=known,
        validation_in_train=sum(_in(there, "validation") for there in held_out),
        relabelled=sum(map(len, relabelled)),
        repeated=sum(len(there) - 1 for there in twice),
        first=tuple(map(shown, islice(examples, 5))),
    )


def _in(places: Iterable[Place], *parts: str) -> int:
    return sum(place.part in parts for place in places)
