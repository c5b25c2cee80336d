"""Processes that train together share each batch out, and see of it what one process would."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.data.augmentation import augment
from harness.data.parts import Part
from harness.data.splits import Batches, Split
from harness.spec import Augmentation, InvalidInput, Recipe

EVERYTHING = Augmentation(shift=2, flip=True, erase=0.5, mixup=0.2, cutmix=1.0, randaugment=1)


def parts_of(recipe, ranks):
    return [Part.of(recipe, rank, ranks) for rank in range(ranks)]


@given(
    share=st.integers(1, 4), accumulate=st.integers(1, 4), ranks=st.integers(2, 5), mixup=st.sampled_from([0.0, 1.0])
)
def test_each_image_is_trained_on_once_in_its_own_part(share, accumulate, ranks, mixup):
    recipe = Recipe(
        batch_size=share * accumulate * ranks, accumulate=accumulate, augmentation=Augmentation(mixup=mixup)
    )
    parts = parts_of(recipe, ranks)
    whole = torch.arange(recipe.batch_size)
    owned = [part.rows[part.own].tensor_split(accumulate) for part in parts]
    for number, wanted in enumerate(whole.tensor_split(accumulate)):
        assert torch.equal(torch.cat([own[number] for own in owned]), wanted)
    for part in parts:
        assert len(part.rows) == len(part.own) + accumulate * (mixup > 0)  # the images that others are mixed with


@pytest.mark.parametrize(
    "spec",
    [
        EVERYTHING,
        Augmentation(),
        Augmentation(shift=3),
        Augmentation(flip=True, erase=1.0),
        Augmentation(mixup=1.0),
        Augmentation(cutmix=1.0),
        Augmentation(randaugment=2),
    ],
)
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_part_is_augmented_as_in_the_whole_batch(spec, accumulate):
    recipe = Recipe(batch_size=12, accumulate=accumulate, augmentation=spec)
    rng = torch.Generator().manual_seed(0)
    split = Split(torch.randint(256, (40, 3, 8, 8), dtype=torch.uint8, generator=rng), torch.arange(40) % 10)

    def seen(part):
        generator = torch.Generator().manual_seed(1)
        batches = Batches(split, torch.arange(40), recipe.batch_size, seed=0, part=part).between(2, 4)
        return [augment(*batch, spec, classes=10, generator=generator, part=part) for batch in batches]

    whole = seen(None)
    for part in parts_of(recipe, 2):
        for (images, labels), (own, own_labels) in zip(whole, seen(part), strict=True):
            at = part.rows[part.own]
            assert torch.equal(own, images[at])
            assert torch.equal(own_labels, labels[at])


@pytest.mark.parametrize(("batch_size", "accumulate", "ranks"), [(128, 1, 3), (96, 4, 16), (2, 1, 4), (10, 4, 2)])
def test_a_batch_that_cannot_be_shared_evenly_is_refused(batch_size, accumulate, ranks):
    with pytest.raises(InvalidInput, match=rf"batch_size is {batch_size}.*multiple of {accumulate * ranks}"):
        Part.of(Recipe(batch_size=batch_size, accumulate=accumulate), 0, ranks)
