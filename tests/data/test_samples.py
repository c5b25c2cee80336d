"""One image of a data set as a model sees it."""

from dataclasses import replace

import numpy as np
import pytest

from harness.data.samples import sample
from harness.data.sources.named_files import PublishedSource
from harness.spec import DataSpec, InvalidInput
from harness.spec.procedural import Scattered

DIGITS = DataSpec(source="digits", train_size=100)


def test_moved_pixels_are_those_of_the_same_image():
    plain = sample(DIGITS)
    patches, pixels = (sample(replace(DIGITS, moved_share=1.0, moved_patch=side)) for side in (4, 1))
    assert plain.shape == (1, 8, 8)
    assert plain.dtype == np.uint8
    for moved in (patches, pixels):
        assert (moved != plain).any()
        assert sorted(moved.flat) == sorted(plain.flat)
    blocks = {tuple(plain[0, y : y + 4, x : x + 4].flat) for y in (0, 4) for x in (0, 4)}
    assert {tuple(patches[0, y : y + 4, x : x + 4].flat) for y in (0, 4) for x in (0, 4)} == blocks


@pytest.mark.parametrize(
    "spec",
    [DataSpec(source="fashion_mnist"), DataSpec(source="scattered", scattered=Scattered(objects="fashion_mnist"))],
)
def test_nothing_is_downloaded(spec: DataSpec, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PublishedSource, "where", lambda _: None)
    monkeypatch.setattr(PublishedSource, "content", None)
    with pytest.raises(InvalidInput, match="fashion_mnist is not on this machine"):
        sample(spec)
