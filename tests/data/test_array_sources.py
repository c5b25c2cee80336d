"""Arrays in files of numpy: every layout read to values worked out by hand, and whatever can be wrong with them."""

import io
import re
import struct
import zipfile

import numpy as np
import pytest
import torch

from harness.data import content_hash, facts, load, resolve
from harness.data.array_source import as_pair
from harness.data.survey import check
from harness.spec import DataSpec, InvalidInput


def levels(images, side=4):
    """Image number n is of the one level 10 n."""
    return np.repeat(np.arange(images, dtype=np.uint8) * 10, side * side).reshape(images, side, side)


def two(images):
    return np.arange(images) % 2


def content(**changes):
    made = {"x_train": levels(12), "y_train": two(12), "x_test": levels(4) + 5, "y_test": two(4)} | changes
    return {name: array for name, array in made.items() if array is not None}


@pytest.fixture
def saved(tmp_path):
    def save(kind="npz", **changes):
        if kind == "npz":
            np.savez(tmp_path / "set.npz", **content(**changes))
            return f"npz:{tmp_path / 'set.npz'}"
        (tmp_path / "set").mkdir(exist_ok=True)
        for name, array in content(**changes).items():
            np.save(tmp_path / "set" / f"{name}.npy", array)
        return f"npy:{tmp_path / 'set'}"

    return save


@pytest.mark.parametrize("kind", ["npz", "npy"])
def test_arrays_are_read_as_they_are(saved, kind):
    source = saved(kind)
    known = facts(source)
    assert (known.image_size, known.channels, known.classes) == (4, 1, 2)
    assert (known.train_images, known.test_images, known.validation_images, known.own_validation) == (12, 4, 2, False)
    data = load(DataSpec(source=source), phase="confirm")
    assert data.test.images.shape == (4, 1, 4, 4)
    assert data.test.images[:, 0, 0, 0].tolist() == [5, 15, 25, 35]
    assert data.test.labels.tolist() == [0, 1, 0, 1]
    both = torch.cat([data.train.images, data.validation.images])[:, 0, 3, 3]
    assert sorted(both.tolist()) == [10 * n for n in range(12)]
    assert torch.equal(data.train.labels, data.train.images[:, 0, 0, 0] // 10 % 2)
    assert torch.bincount(data.validation.labels).tolist() == [1, 1]
    with pytest.raises(RuntimeError):
        _ = load(DataSpec(source=source)).test


def test_the_identity_is_of_the_arrays(saved, tmp_path):
    one = content_hash(DataSpec(source=saved("npz")))
    assert content_hash(DataSpec(source=saved("npy"))) == one
    assert content_hash(DataSpec(source=saved(y_test=np.array([1, 1, 0, 1])))) != one
    assert content_hash(DataSpec(source=saved(x_train=levels(12)[:, ::-1] + 1))) != one


def test_a_validation_part_is_kept_apart(saved):
    source = saved(x_val=levels(4) + 3, y_val=two(4))
    data = load(DataSpec(source=source))
    assert data.validation.images[:, 0, 0, 0].tolist() == [3, 13, 23, 33]
    assert len(data.train) == 12
    assert len(load(DataSpec(source=source, validation_size=2)).validation) == 2
    assert resolve(DataSpec(source=source))[0].validation_size == 4


@pytest.mark.parametrize(
    "names",
    [("x_train", "y_train", "x_test", "y_test"), ("train_images", "train_labels", "test_images", "test_labels")],
)
def test_both_ways_of_naming_are_known(tmp_path, names):
    """The latter, with labels (N, 1), is that of MedMNIST."""
    made = (levels(12), two(12)[:, None], levels(4), two(4)[:, None].astype(np.uint8))
    np.savez_compressed(tmp_path / "set.npz", **dict(zip(names, made, strict=True)))
    assert load(DataSpec(source=f"npz:{tmp_path / 'set.npz'}")).train.labels.dtype == torch.int64


def coloured(layout):
    """Two images, 5 x 5 px, of levels 1, 2, 3 in red, green, blue; the second ten times as much."""
    chw = np.broadcast_to(np.array([1, 2, 3], dtype=np.uint8)[:, None, None], (3, 5, 5))
    both = np.stack([chw, 10 * chw])
    return both if layout == "NCHW" else np.asfortranarray(both.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_channels_first_or_last(layout):
    images, labels = as_pair("x", coloured(layout), np.array([0, 1], dtype=np.uint8))
    assert images.shape == (2, 3, 5, 5)
    assert images[1, :, 4, 4].tolist() == [10, 20, 30]
    assert labels.dtype == np.int64


def test_images_are_resized_and_kept(saved, cache):
    data = load(DataSpec(source=saved(), image_size=2), phase="confirm")
    assert data.test.images[:, 0].flatten(1).tolist() == [[level] * 4 for level in (5, 15, 25, 35)]
    assert len(list((cache / "decoded").glob("*.npy"))) == 2
    assert data.facts.image_size == 2


def test_a_check_tells_classes_sizes_and_duplicates(saved):
    x_train = levels(12)
    found, lacking = check(DataSpec(source=saved(x_train=x_train, x_test=levels(4) + 5)))
    assert [(row.name, row.train + row.validation, row.test) for row in found.classes] == [("0", 6, 2), ("1", 6, 2)]
    assert (found.sizes, found.modes, lacking) == ({"4x4": 16}, {"L": 16}, "")
    assert found.duplicates.repeated == 0
    found, _ = check(DataSpec(source=saved(x_test=np.stack([levels(4)[3], *levels(3) + 5]))))
    assert found.duplicates.test_in_train == 1
    with pytest.raises(InvalidInput, match=r"All 4 test images .* are training images, too"):
        check(DataSpec(source=saved(x_test=levels(4))))


BAD = {
    "objects": ({"y_train": np.array([{}] * 12, dtype=object)}, "Object arrays cannot be loaded"),
    "floats": ({"x_train": levels(12) / 255}, "images of train .* type float64 .* they must be uint8"),
    "oblong": ({"x_train": levels(12)[:, :3]}, r"shape \(12, 3, 4\); they must be .* \(N, H, H\)"),
    "flat": ({"x_train": levels(12).reshape(12, 16)}, r"shape \(12, 16\)"),
    "alpha": ({"x_train": np.zeros((12, 4, 4, 4), dtype=np.uint8)}, "with 1 or 3 channels"),
    "labels are one too few": (
        {"y_train": two(11)},
        r"shape \(11,\); they must be .* each of 12 images",
    ),
    "one-hot labels": ({"y_train": np.eye(12, dtype=np.int64)}, r"labels of train .* shape \(12, 12\)"),
    "float labels": ({"y_train": two(12) / 1}, "must be whole numbers"),
    "negative labels": ({"y_train": two(12) - 1}, "go from -1 to 0; they must number the classes from 0 on"),
    "a gap": ({"y_train": two(12) * 2}, "has 3 classes, numbered from 0, and class 1 has 0 training images"),
    "huge labels": ({"y_train": two(12) * 10**12}, "go from 0 to 1000000000000"),
    "one class": ({"y_train": two(12) * 0}, "has 1 class, .* it needs at least two"),
    "a class of the test part alone": (
        {"y_test": np.array([0, 1, 2, 0])},
        "classes up to 2, those of train .* and 1;",
    ),
    "another size": ({"x_test": levels(4, side=5)}, r"images of test have the shape \(1, 5, 5\) and"),
    "no test part": ({"x_test": None, "y_test": None}, "lacks x_test and y_test or test_images and test_labels"),
    "no labels": ({"y_test": None}, "lacks y_test; images and labels go together"),
    "nothing": ({"x_train": levels(0), "y_train": two(0)}, "each of 0 images"),
}


@pytest.mark.parametrize("kind", ["npz", "npy"])
@pytest.mark.parametrize(("changes", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_refused(saved, kind, changes, message):
    spec = DataSpec(source=saved(kind, **changes))
    for attempt in (resolve, content_hash, load):
        with pytest.raises(InvalidInput, match=message):
            attempt(spec)


REMEDIED = {
    "images from 0 to 1": {"images": levels(12) / 255},
    "images of 16 bits": {"images": levels(12).astype(np.uint16) * 257},
    "images of 64 bits": {"images": levels(12).astype(np.int64)},
    "black and white": {"images": levels(12) > 90},
    "flat images": {"images": levels(12).reshape(12, 16)},
    "one-hot": {"labels": np.eye(2)[two(12)]},
    "strings": {"labels": np.array(["ape", "bat"])[two(12)]},
    "whole floats": {"labels": two(12) / 1},
    "negative": {"labels": two(12) - 1},
}


@pytest.mark.parametrize("given", REMEDIED.values(), ids=REMEDIED)
def test_the_remedy_that_an_error_names_makes_them_good(given):
    pair = {"images": levels(12), "labels": two(12)} | given
    with pytest.raises(InvalidInput) as error:
        as_pair("train", *pair.values())
    (remedy,) = re.findall(r"[.] [A-Z][^:.]*: (.*)[.]$", str(error.value))
    ((name, _),) = given.items()
    pair[name] = eval(remedy, {"np": np}, pair)
    images, labels = as_pair("train", *pair.values())
    assert images.shape == (12, 1, 4, 4)
    assert labels.tolist() == two(12).tolist()


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(InvalidInput, match=r"There is no file .*/no\.npz \(data\.source=npz:"):
        load(DataSpec(source=f"npz:{tmp_path / 'no.npz'}"))
    with pytest.raises(InvalidInput, match=r"There is no folder .*/no \(data\.source=npy:"):
        load(DataSpec(source=f"npy:{tmp_path / 'no'}"))


@pytest.mark.parametrize("at", [0, 30, 200, -30])
def test_a_damaged_file_is_named(saved, tmp_path, at):
    spec = DataSpec(source=saved())
    raw = bytearray((tmp_path / "set.npz").read_bytes())
    raw[at : at + 20] = b"x" * 20
    (tmp_path / "set.npz").write_bytes(bytes(raw))
    with pytest.raises(InvalidInput, match=r"set\.npz"):
        load(spec)


def header(shape, kind="|u1"):
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize("shape", ["(10**15,)", "(1000000000000000, 1000)", "(-1, -9)", "(" * 3000, "(2,)"])
def test_a_header_allocates_nothing(tmp_path, shape):
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
        for name, array in content().items():
            file = io.BytesIO()
            np.save(file, array)
            archive.writestr(f"{name}.npy", header(shape) + b"123456789" if name == "x_train" else file.getvalue())
    with pytest.raises(InvalidInput, match=r"cannot be read|shape \(2,\)"):
        load(DataSpec(source=f"npz:{tmp_path / 'set.npz'}"))


def test_a_bomb_is_not_unpacked(saved, tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "set.npz", **content(x_train=np.zeros((10_000, 100, 100), dtype=np.uint8)))
    monkeypatch.setattr("harness.data.sources.arrays.memory_limit", lambda: 10**7)
    with pytest.raises(InvalidInput, match=r"An array takes 0\.1 GB, more than half of this machine's memory"):
        load(DataSpec(source=f"npz:{tmp_path / 'set.npz'}"))
