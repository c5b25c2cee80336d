"""Images that are made: the same bytes for one number whatever is made with it, from objects that no other part has."""

import hashlib
from dataclasses import replace
from functools import cache
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data import load, made, splits
from harness.data.made import HeldSplit, MadeSplit
from harness.data.rendering import Draws, Objects, Renderer, mixed
from harness.data.sources import find
from harness.data.splits import Batches, normalisation, subset
from harness.data.survey import check, resolve
from harness.records.data_facts import test_overlap as expected_overlap
from harness.spec import DataSpec, InvalidInput
from harness.spec.procedural import Cued, Scattered

SCATTERED = DataSpec(source="scattered", train_size=300, validation_size=60, scattered=Scattered(test_images=80))
CUED = DataSpec(source="cued", train_size=300, validation_size=60, cued=Cued(test_images=80))
BOTH = pytest.mark.parametrize("spec", [SCATTERED, CUED], ids=lambda spec: spec.source)

GOLDEN = {
    "scattered train": "714319c36f95792a19a525ef15cdcb8e9ee564b71403e8883e14117c99b2c905",
    "scattered validation": "d97b1e9ed72d006527335b985cfe96f6f552b1b33f25b0e7b99479dd8632fca2",
    "scattered test": "72d922cfc832ae2e4bbd4a811458938ac08a9882159b309cec81eee3ac36e73f",
    "cued train": "465c7025579df040e1ea0878f308bc28842705260459a29d93f98667202a56e6",
    "cued validation": "2d212dfddbbadd48d9ed9d2d959d586b663a84c1af4ad89f23dcde495d0244a0",
    "cued test": "63806dcd193cd8d09248c3ea5b0b922408bc2214f2bed1f53bd6634e73264dfb",
}
"""SHA-256 of the first 60 images and their labels. Others are others' data: raise `RENDERER`."""


def sha256(images, labels):
    content = images.numpy().tobytes() + labels.numpy().astype("<i8").tobytes()
    return hashlib.sha256(content).hexdigest()


def of(split, at):
    """The images and labels at some places."""
    ((images, labels),) = split.read([torch.as_tensor(at)])
    return images, labels


def everything(data):
    """All that a training and its evaluations read."""
    chosen = subset(data.train, 300, seed=0)
    batches = list(Batches(data.train, chosen, 32, seed=0).between(0, 25))
    return [normalisation(data.train, chosen), *batches, *data.validation.chunks(7), *data.test.chunks(33)]


@cache
def train_part(source):
    spec = replace(SCATTERED if source == "scattered" else CUED, train_size="unlimited")
    return load(spec).train


@BOTH
def test_they_are_the_same_on_every_machine(spec):
    data = load(spec, phase="confirm")
    found = {part: sha256(*of(getattr(data, part), range(60))) for part in ("train", "validation", "test")}
    assert found == {part: GOLDEN[f"{spec.source} {part}"] for part in found}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@BOTH
def test_a_gpu_makes_the_same_images(spec, monkeypatch):
    here = load(spec, phase="confirm")
    monkeypatch.setattr(made, "HELD_BYTES", 0)
    there = load(spec, phase="confirm", device="cuda")
    for one, other in zip(everything(here), everything(there), strict=True):
        assert all(torch.equal(tensor, found.cpu()) for tensor, found in zip(one, other, strict=True))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 10**9 - 1), min_size=1, max_size=40), st.sampled_from(["scattered", "cued"]))
def test_an_image_depends_on_its_number_alone(numbers, source):
    split = train_part(source)
    together = of(split, numbers)
    apart = [of(split, [number]) for number in numbers]
    assert torch.equal(together[0], torch.cat([images for images, _ in apart]))
    assert torch.equal(together[1], torch.cat([labels for _, labels in apart]))


@BOTH
def test_a_smaller_set_is_the_beginning_of_a_larger_one(spec):
    small, large = (load(replace(spec, train_size=size)).train for size in (70, 300))
    for one, other in zip(of(small, range(70)), of(large, range(70)), strict=True):
        assert torch.equal(one, other)


@BOTH
def test_every_beginning_is_nearly_balanced(spec):
    labels = load(spec).train.labels
    for size in (10, 37, 300):
        counts = labels[:size].bincount(minlength=10)
        assert counts.max() - counts.min() <= 1 + (size % 10 > 0)
    assert len(set(map(tuple, labels.view(-1, 10).tolist()))) > 5  # not always in one order


@BOTH
def test_no_image_is_there_twice(spec):
    data = load(spec, phase="confirm")
    keys = [key for split in (data.train, data.validation, data.test) for key in split.keys(None)]
    assert len(set(keys)) == len(keys) == 440


def test_parts_share_no_object(monkeypatch):
    given = []
    monkeypatch.setattr(Objects, "of", classmethod(lambda cls, images, labels, device: given.append(images) or full))
    full = train_part("scattered").renderer.objects
    load(SCATTERED, phase="confirm")
    found = [{image.tobytes() for image in images} for images in given]
    assert [len(images) for images in given] == [1258, 180, 359]
    assert len(set.union(*found)) == sum(map(len, found))


@BOTH
@pytest.mark.parametrize("longest", [splits.LONGEST_ORDER, 100])
def test_made_in_each_pass_they_are_those_that_memory_holds(spec, monkeypatch, longest):
    held = load(spec, phase="confirm")
    monkeypatch.setattr(made, "HELD_BYTES", 0)
    streamed = load(spec, phase="confirm")
    assert (type(held.train), type(streamed.train)) == (HeldSplit, MadeSplit)
    for one, other in zip(everything(held), everything(streamed), strict=True):
        assert all(map(torch.equal, one, other))
    monkeypatch.setattr(splits, "LONGEST_ORDER", longest)
    batches = Batches(streamed.train, range(300), 100, seed=1)
    orders = [batches.batch_indices(update).tolist() for update in range(6)]
    for of_pass in (orders[:3], orders[3:]):
        assert sorted(chain(*of_pass)) == list(range(300))
    assert orders[:3] != orders[3:]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 3000), st.integers(0, 2**62), st.data())
def test_a_long_order_that_is_never_held_is_a_permutation(n, seed, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "LONGEST_ORDER", 1)
        whole = splits._shuffled(n, seed, 0, n, is_listed=False)
        assert sorted(whole) == list(range(n))
        low = data.draw(st.integers(0, n - 1))
        assert np.array_equal(splits._shuffled(n, seed, low, n, is_listed=False), whole[low:])


def test_a_hundred_million_images_take_no_room():
    train = train_part("scattered")
    chosen = subset(train, 10**8, seed=0)
    batches = Batches(train, chosen, 16, seed=0)
    numbers = torch.cat([batches.batch_indices(update) for update in range(0, 6_250_000, 62_500)])
    assert len(numbers.unique()) == len(numbers)
    assert abs(numbers.double().mean() / 10**8 - 0.5) < 0.03
    ((images, labels),) = batches.between(6_249_999, 6_250_000)
    assert images.shape == (16, 1, 16, 16)
    assert torch.equal(of(train, batches.batch_indices(6_249_999))[1], labels)


@BOTH
def test_each_seed_may_have_images_of_its_own(spec):
    resplit = replace(spec, resplit=True)
    one, same, other = (load(resplit, seed=seed).train.images for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(load(spec, seed=0).train.images, load(spec, seed=1).train.images)


def test_another_seed_is_expected_to_be_tested_on_a_fifth_of_the_same_objects():
    for resplit, share in ((False, 0), (True, 0.2)):
        study = SimpleNamespace(data_of=lambda arm, resplit=resplit: replace(SCATTERED, resplit=resplit))
        assert expected_overlap(SimpleNamespace(study=study, provenance={}), None) == share


def without_noise(made_as, numbers):
    objects = train_part("scattered").renderer.objects
    return Renderer(replace(made_as, noise=0.0), objects, key=7).images(torch.arange(numbers))[0].int()


def test_objects_lie_anywhere_and_are_as_large_as_told():
    alone = Scattered(side=24, smallest=8, largest=8, turn=0.0, clutter=0)
    images = without_noise(alone, 400)[:, 0]
    for axis in (1, 2):
        lit = images.amax(axis) > 0
        extents = [row.nonzero().flatten() for row in lit]
        assert max(int(at[-1] - at[0]) for at in extents) <= 8
        assert min(int(at[0]) for at in extents) <= 1
        assert max(int(at[-1]) for at in extents) >= 22


def test_clutter_only_adds():
    plain, cluttered = (without_noise(Scattered(clutter=number), 50) for number in (0, 2))
    assert (cluttered >= plain).all()
    assert 0 < (cluttered > plain).sum() / 50 < 18


def test_noise_is_normal_and_differs_between_pixels_and_images():
    objects = train_part("scattered").renderer.objects
    renderer = Renderer(Scattered(noise=0.1), objects, key=7)
    noise = renderer._noise(Draws(mixed(torch.arange(2000))), 255).double()
    assert abs(noise.mean()) < 0.15
    assert noise.std() == pytest.approx(25.5, rel=0.01)
    assert (noise.abs() < 25.5).double().mean() == pytest.approx(0.683, abs=0.01)
    for shift in (1, 2, 5):
        assert abs((noise[:, shift:] * noise[:, :-shift]).mean()) < 5
    assert abs((noise[1:] * noise[:-1]).mean()) < 5


def test_the_cue_alone_moves_with_its_distance():
    near, far = (without_noise(Cued(distance=distance), 60)[:, 0] for distance in (8, 20))
    mark = (near[:, 10:] == 255).flatten(1).sum(1)
    assert (mark == 4).all()
    below = torch.zeros_like(far)
    below[:, 12:] = (near * (near == 255))[:, :-12]
    at = below[:, 24:] > 0
    assert torch.equal(far[:, 24:] == 255, at | (far[:, 24:] == 255))
    assert (far[:, 22:].flatten(1).amax(1) == 255).all()


def test_the_object_that_is_meant_has_the_label():
    """Without jitter the mark stands below one of three places; the glyph there is of the label's class."""
    objects = train_part("scattered").renderer.objects
    plain = Cued(jitter=0, turn=0.0, noise=0.0)
    renderer = Renderer(plain, objects, key=7)
    images, labels = renderer.images(torch.arange(200))
    ends = objects.starts + objects.counts
    span = objects.side + 3
    quads = objects.quads.view(-1, span, span)[:, 2:-1, 2:-1] & 255
    for image, label in zip(images[:, 0], labels, strict=True):
        place = int((image[10:] == 255).any(0).nonzero()[0]) + 1
        glyph = image[:8, place - 4 : place + 4].int()
        which = int((quads - glyph).abs().sum((1, 2)).argmin())
        assert objects.starts[label] <= which < ends[label]


def test_fashion_mnist_and_a_folder_are_scattered_too(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("PATCHBENCH_DATA", str(tiny.put(tmp_path / "own")))
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        for number in range(8):
            path = tmp_path / "cutouts" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (20, 12, 3), dtype=np.uint8)).save(path)
    for objects, channels, classes in (("fashion_mnist", 1, 10), (f"imagefolder:{tmp_path}/cutouts", 3, 2)):
        settings_ = Scattered(objects=objects, side=32, largest=20, test_images=30)
        data = load(replace(SCATTERED, scattered=settings_), phase="confirm")
        images, labels = of(data.test, range(30))
        assert images.shape == (30, channels, 32, 32)
        assert (data.facts.classes, int(labels.max()) + 1) == (classes, classes)
        assert images.float().mean((1, 2, 3)).min() > 8


def test_too_few_objects_are_refused(tmp_path):
    for number, place in enumerate(("train/cat/1", "train/cat/2", "train/dog/1", "train/dog/2", "test/cat/1")):
        path = (tmp_path / "cutouts" / place).with_suffix(".png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), 90 + number).save(path)
    few = replace(SCATTERED, scattered=Scattered(objects=f"imagefolder:{tmp_path}/cutouts"))
    with pytest.raises(InvalidInput, match=r"where class 1 .* has 2 objects; it must have at least 3"):
        load(few)


@BOTH
def test_the_hash_covers_objects_and_settings(spec):
    known = find(spec).content_hash()
    assert find(replace(spec, train_size=10, validation_size=None)).content_hash() == known
    noisier = replace(getattr(spec, spec.source), noise=0.2)
    assert find(replace(spec, **{spec.source: noisier})).content_hash() != known
    assert find(replace(spec, source="cued" if spec is SCATTERED else "scattered")).content_hash() != known


def test_what_is_told_of_them():
    resolved, facts = resolve(DataSpec(source="scattered"))
    assert (resolved.train_size, resolved.image_size, resolved.validation_size) == ("unlimited", 16, 5000)
    assert (facts.test_images, facts.classes) == (10_000, 10)
    for spec in (SCATTERED, DataSpec(source="scattered", validation_size=20)):
        found, _ = check(spec)
        told = dict(found.lines())
        assert told["Test images"].endswith("made of 359 objects that no other part has")
        assert told["Sizes"].startswith("16x16")
