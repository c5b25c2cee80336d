"""What a specification resolves to without loading images."""

import subprocess
import sys

import pytest

from harness.data import derive, facts, resolve
from harness.spec import IMAGENET, NAMED_SOURCES, DataSpec, InvalidInput


@pytest.mark.parametrize("source", NAMED_SOURCES)
def test_named_sources_resolve_to_their_own_numbers(source):
    known = NAMED_SOURCES[source]
    spec, found = resolve(DataSpec(source=source))
    assert found == known == facts(source)
    assert (spec.image_size, spec.validation_size) == (known.image_size, known.validation_images)
    assert spec.train_size == known.train_images - known.validation_images


def test_what_is_written_out_resolves_to_itself():
    spec, _ = resolve(DataSpec(image_size=32, train_size=2_000, validation_size=1_000))
    assert resolve(spec)[0] == spec
    assert resolve(spec)[1].image_size == 32


def test_imagenet_is_known_without_its_folder():
    assert facts("imagenet") == IMAGENET
    assert resolve(DataSpec(source="imagenet"))[0].train_size == 1_271_167


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"train_size": 55_001},
            "data.train_size is 55001 and data.validation_size 5000, but fashion_mnist has 60,000 training images to "
            "take both from; at most 55000 are left for training.",
        ),
        (
            {"validation_size": 60_000},
            "data.train_size is all and data.validation_size 60000, but fashion_mnist has 60,000 training images to "
            "take both from; hold fewer out.",
        ),
        (
            {"train_size": 9},
            "data.train_size is 9, fewer than the 10 classes of fashion_mnist; it must be at least 10, so that every "
            "class is there.",
        ),
        (
            {"validation_size": 9},
            "data.validation_size is 9, fewer than the 10 classes of fashion_mnist; it must be at least 10, so that "
            "every class is there.",
        ),
    ],
)
def test_impossible_sizes_are_refused_with_numbers(fields, message):
    with pytest.raises(InvalidInput) as error:
        resolve(DataSpec(**fields))
    assert str(error.value) == message


def test_planning_needs_no_torch():
    code = (
        "import sys; from harness.data import resolve, content_hash, facts, derive; from harness.spec import DataSpec\n"
        "resolve(DataSpec()); content_hash(DataSpec()); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_derived_seeds_are_stable_and_differ_by_purpose():
    assert derive(0, "order", 1) == 1860338126330257371
    seeds = {derive(seed, purpose, n) for seed in range(5) for purpose in ("order", "augment") for n in range(5)}
    assert len(seeds) == 50
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert derive(1, "a", "b") != derive(1, "ab")
