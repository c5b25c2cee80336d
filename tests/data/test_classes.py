"""Some classes of a set as a task of their own."""

import numpy as np
import pytest

from harness.data import content_hash, facts, load, resolve
from harness.data.array_source import ArraySource
from harness.data.sources import find
from harness.data.sources.classes import EVEN
from harness.spec import DataSpec, InvalidInput


def test_the_classes_asked_for_are_there_and_numbered_from_0() -> None:
    whole, part = (load(DataSpec(source=name), phase="confirm") for name in ("digits", "classes:3-5:digits"))
    assert part.facts.classes == 3
    wanted = (whole.test.labels >= 3) & (whole.test.labels <= 5)
    assert part.test.images.equal(whole.test.images[wanted])
    assert part.test.labels.equal(whole.test.labels[wanted] - 3)
    assert set(part.train.labels.tolist()) == set(part.validation.labels.tolist()) == {0, 1, 2}


def test_what_is_said_of_a_set_of_even_classes_is_so() -> None:
    """Without reading it; its hash is neither the whole set's nor that of other classes."""
    found = facts("classes:5-9:fashion_mnist")
    assert (found.classes, found.train_images, found.test_images, found.validation_images) == (5, 30_000, 5_000, 2_500)
    names = ("fashion_mnist", "classes:0-4:fashion_mnist", "classes:5-9:fashion_mnist")
    assert len({content_hash(DataSpec(source=name)) for name in names}) == 3
    for name in EVEN:
        source = find(name)
        assert isinstance(source, ArraySource)
        assert source.is_named
        assert source.facts().train_images % source.facts().classes == 0


def test_a_part_of_uneven_classes_is_counted() -> None:
    source = find("classes:0-1:digits")
    spec, found = resolve(DataSpec(source="classes:0-1:digits"))
    assert isinstance(source, ArraySource)
    labels = source.arrays("train")[1]
    assert found.train_images == len(labels) == spec.train_size + spec.validation_size
    assert np.bincount(labels).min() > 50


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("classes:0-4", "it must be classes:FIRST-LAST:SOURCE"),
        ("classes:4-4:digits", "it must be classes:FIRST-LAST:SOURCE with two classes or more"),
        ("classes:a-b:digits", "it must be classes:FIRST-LAST:SOURCE"),
        ("classes:0-1:nothing", "Valid: "),
        ("classes:8-10:digits", "digits has 10 classes, 0 to 9. Take classes among these"),
        ("classes:0-1:scattered", "classes are taken of sets of arrays"),
    ],
)
def test_classes_that_are_not_there_are_refused(source: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        facts(source)
