"""ImageNet-like folders are read while training, with the same interface as images in memory."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data import content_hash, facts, load, resolve
from harness.data.parts import Part
from harness.data.splits import IMAGES_AHEAD, Batches, StreamedSplit, normalisation, random_box, subset
from harness.spec import DataSpec, InvalidInput


@pytest.fixture
def imagenet(tmp_path):
    rng = np.random.default_rng(0)
    for part, n in (("train", 12), ("val", 3)):
        for label, name in enumerate(("n01", "n02")):
            for number in range(n):
                path = tmp_path / "net" / part / name / f"{number:02}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = rng.integers(0, 100, (40 + number, 50, 3), dtype=np.uint8) + 120 * label
                Image.fromarray(pixels.astype(np.uint8)).save(path)
    return tmp_path / "net"


def spec(root, **fields):
    return DataSpec(source=f"imagenet:{root}", image_size=24, **fields)


def test_the_same_interface_as_in_memory(imagenet):
    data = load(spec(imagenet), phase="confirm")
    assert isinstance(data.train, StreamedSplit)
    assert (len(data.train), len(data.validation), len(data.test)) == (22, 2, 6)
    chosen = subset(data.train, 10, seed=0)
    mean, std = normalisation(data.train, chosen)
    assert mean.shape == std.shape == (3,)
    for images, labels in Batches(data.train, chosen, 4, seed=0).between(0, 2):
        assert images.dtype == torch.uint8
        assert images.shape == (4, 3, 24, 24)
        assert torch.equal((images.float().mean((1, 2, 3)) > 110).long(), labels)
    labels = torch.cat([labels for _, labels in data.test.chunks(4)])
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    with pytest.raises(RuntimeError):
        _ = load(spec(imagenet)).test


def test_crops_follow_from_the_seed_and_the_update(imagenet):
    train = load(spec(imagenet)).train
    state = torch.get_rng_state()

    def read(start, stop, seed=0):
        return [images for images, _ in Batches(train, torch.arange(22), 4, seed=seed).between(start, stop)]

    whole = read(0, 3)
    assert torch.equal(torch.stack(read(0, 1) + read(1, 3)), torch.stack(whole))
    assert not torch.equal(read(0, 1, seed=1)[0], whole[0])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_part_of_a_batch_has_its_crops_in_the_whole(imagenet):
    train, part = load(spec(imagenet)).train, Part(4, torch.tensor([0, 3]), torch.tensor([0, 1]))
    whole, some = (Batches(train, torch.arange(22), 4, seed=0, part=of) for of in (None, part))
    for (images, labels), (own, own_labels) in zip(whole.between(1, 3), some.between(1, 3), strict=True):
        assert torch.equal(images[part.rows], own)
        assert torch.equal(labels[part.rows], own_labels)


def test_crops_do_not_depend_on_the_threads(imagenet):
    train = load(spec(imagenet)).train
    orders = torch.arange(22).expand(6, 22)
    one, many = ([images for images, _ in replace(train, threads=n).read(orders, seed=3)] for n in (1, 7))
    assert all(torch.equal(a, b) for a, b in zip(one, many, strict=True))
    assert not torch.equal(one[0], one[1])


def test_what_is_decoded_ahead_is_bounded_and_given_up_when_nobody_asks(imagenet):
    asked = []

    def orders():
        for number in range(10_000):
            asked.append(number)
            yield torch.arange(22)

    reader = load(spec(imagenet)).train.read(orders())
    next(reader)
    assert (len(asked) - 1) * 22 < IMAGES_AHEAD + 22
    assert any(thread.name.startswith("decoder") for thread in threading.enumerate())
    reader.close()
    assert not any(thread.name.startswith("decoder") for thread in threading.enumerate())


def test_facts_and_identity_come_from_the_listing(imagenet):
    known = facts(f"imagenet:{imagenet}")
    assert (known.image_size, known.classes, known.train_images, known.test_images) == (224, 2, 24, 6)
    assert resolve(spec(imagenet))[0].train_size == 22
    one = content_hash(spec(imagenet))
    (imagenet / "val" / "n02" / "02.JPEG").write_bytes(b"shorter")
    assert content_hash(spec(imagenet)) != one


def test_an_image_that_cannot_be_read_is_named(imagenet):
    (imagenet / "val" / "n02" / "02.JPEG").write_bytes(b"no image")
    with pytest.raises(InvalidInput, match=r"n02/02\.JPEG is not an image that can be read"):
        list(load(spec(imagenet), phase="confirm").test.chunks(4))


def test_without_a_folder_it_can_be_planned_and_not_trained(tmp_path):
    assert resolve(DataSpec(source="imagenet"))
    with pytest.raises(InvalidInput, match=r"name its folder: data\.source=imagenet:PATH"):
        load(DataSpec(source="imagenet"))
    with pytest.raises(InvalidInput, match=r"has the folders : none of part train or test\. .*val/CLASS"):
        load(DataSpec(source=f"imagenet:{tmp_path}"))


def test_crops_have_the_right_extent():
    boxes, mirrored = zip(*(random_box(200, 100, seed) for seed in range(300)), strict=True)
    across, down = np.array([(right - left, bottom - top) for left, top, right, bottom in boxes]).T
    assert 0.4 < np.mean(mirrored) < 0.6
    assert 0.08 * 0.95 < (across * down / 20_000).min() < 0.12
    assert (across * down / 20_000).max() > 0.45  # 4/3 of the height, squared
    assert 0.74 < (across / down).min() < 0.8 < 1.25 < (across / down).max() < 1.35
    assert np.array(boxes).min() >= 0
    assert (np.array(boxes) <= (200, 100, 200, 100)).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_a_stream_fits_as_a_folder_does(tmp_path, fit):
    """Of an image that is a ramp across: what a crop of its frame begins and ends with."""
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (100, 1)))
    for part in ("train", "val"):
        for name in "ab":
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(4):
                ramp.save(tmp_path / part / name / f"{number}.png")
    data = load(DataSpec(source=f"imagenet:{tmp_path}", image_size=56, fit=fit, background=(250,) * 3), phase="confirm")
    (test,) = (images for images, _ in data.test.chunks(8))
    ends = {"crop": (56, 144), "pad": (12, 188), "squash": (12, 188)}[fit]
    assert test[0, 0, 28, [0, -1]].tolist() == pytest.approx(ends, abs=3)
    assert (test[0, 0, 0] == 250).all() == (fit == "pad")
    (train,) = (images for images, _ in data.train.read([torch.zeros(200, dtype=torch.long)]))
    widths = (train[:, 0, :, -1].int() - train[:, 0, :, 0].int()).abs().amax(1)
    assert widths.max() > {"crop": 110, "pad": 150, "squash": 150}[fit]
