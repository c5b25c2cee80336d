"""scikit-learn's digits: 8-pixel images that need no download."""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from harness.data.array_source import NamedSource
from harness.data.source import Pair, Part
from harness.data.subsets import stratified
from harness.spec import NAMED_SOURCES


def open_source(kind: str, argument: str) -> "Digits":
    """The set itself."""
    del argument
    return Digits(kind)


class Digits(NamedSource):
    """One fixed, stratified fifth is the test part. Grey levels 0..16 are spread over 0..255."""

    def arrays(self, part: Part) -> Pair:
        return _part(part)

    def content_hash(self) -> str:
        """SHA-256 over the images and labels of both parts."""
        digest = hashlib.sha256()
        for images, labels in (_part("train"), _part("test")):
            digest.update(images.tobytes() + labels.astype("<i8").tobytes())
        return digest.hexdigest()


@cache
def _part(part: Part) -> Pair:
    package = find_spec("sklearn")  # not imported, which takes a second in every worker
    assert package is not None
    assert package.origin is not None
    table = np.loadtxt(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images, labels = (
        np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8),
        table[:, -1].astype(np.int64),
    )
    test = np.zeros(len(labels), dtype=bool)
    test[stratified(labels, NAMED_SOURCES["digits"].test_images, seed=0)] = True
    chosen = test if part == "test" else ~test
    return images[chosen], labels[chosen]
