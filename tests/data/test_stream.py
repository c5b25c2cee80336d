"""ImageNet-like folders are read while training, with the same interface as images in memory."""

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data import Batches, StreamedSplit, content_hash, facts, load, normalisation, resolve, subset
from harness.data.stream import centre_crop, random_crop
from harness.spec import DataSpec, InvalidInput

# DataLoader forks its workers, which newer Pythons warn of.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.data.loading._decoders", lambda: 1)
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


def test_facts_and_identity_come_from_the_listing(imagenet):
    known = facts(f"imagenet:{imagenet}")
    assert (known.image_size, known.classes, known.train_images, known.test_images) == (224, 2, 24, 6)
    assert resolve(spec(imagenet))[0].train_size == 22
    one = content_hash(spec(imagenet))
    (imagenet / "val" / "n02" / "02.JPEG").write_bytes(b"shorter")
    assert content_hash(spec(imagenet)) != one


def test_an_image_that_cannot_be_read_is_named(imagenet, monkeypatch):
    monkeypatch.setattr("harness.data.loading._decoders", lambda: 0)
    (imagenet / "val" / "n02" / "02.JPEG").write_bytes(b"no image")
    with pytest.raises(InvalidInput, match=r"n02/02\.JPEG is not an image that can be read"):
        list(load(spec(imagenet), phase="confirm").test.chunks(4))


def test_without_a_folder_it_can_be_planned_and_not_trained(tmp_path):
    assert resolve(DataSpec(source="imagenet"))
    with pytest.raises(InvalidInput, match=r"name its folder: data\.source=imagenet:PATH"):
        load(DataSpec(source="imagenet"))
    with pytest.raises(InvalidInput, match=r"There is no folder .*/train .*val/CLASS"):
        load(DataSpec(source=f"imagenet:{tmp_path}"))


def test_crops_have_the_right_extent():
    ramp = np.tile(np.arange(200, dtype=np.uint8), (100, 1))  # 200 wide, 100 high
    middle = np.asarray(centre_crop(Image.fromarray(ramp), 56)).astype(int)
    assert middle[0, 0] == pytest.approx(50 + 6, abs=2)
    assert middle[0, -1] == pytest.approx(150 - 6, abs=2)
    widths, mirrored = [], []
    for seed in range(300):
        row = np.asarray(random_crop(Image.fromarray(ramp), 56, seed)).astype(int)[0]
        widths.append(abs(row[-1] - row[0]))
        mirrored.append(row[-1] < row[0])
    assert 0.4 < np.mean(mirrored) < 0.6
    assert min(widths) < 60
    assert max(widths) > 110
