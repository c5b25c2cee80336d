"""What sources are called for people."""

import pytest

from harness.spec import NAMED_SOURCES, DataSpec, Scattered
from harness.spec.data import TITLES
from harness.spec.procedural import Cued


@pytest.mark.parametrize(
    ("data", "title"),
    [
        (DataSpec(source="fashion_mnist"), "Fashion-MNIST"),
        (DataSpec(source="cifar100"), "CIFAR-100"),
        (DataSpec(source="digits"), "scikit-learn's digits"),
        (DataSpec(source="imagenet:/data/imagenet"), "ImageNet-1k"),
        (DataSpec(source="classes:0-4:fashion_mnist"), "classes 0-4 of Fashion-MNIST"),
        (DataSpec(source="imagefolder:/data/cats"), "imagefolder:/data/cats"),
        (DataSpec(source="scattered"), "made images: digits among clutter"),
        (DataSpec(source="scattered", scattered=Scattered(clutter=0)), "made images: digits in noise"),
        (
            DataSpec(source="scattered", scattered=Scattered(objects="fashion_mnist")),
            "made images: objects of Fashion-MNIST among clutter",
        ),
        (DataSpec(source="cued"), "made images: glyphs with a cue"),
        (
            DataSpec(source="cued", cued=Cued(objects="imagefolder:/data/cats")),
            "made images: objects of imagefolder:/data/cats with a cue",
        ),
    ],
)
def test_a_title_names_the_images(data: DataSpec, title: str) -> None:
    assert data.title == title


def test_every_named_source_has_a_title() -> None:
    assert set(NAMED_SOURCES) <= set(TITLES)
