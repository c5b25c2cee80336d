"""Sets of torchvision, in the files that it keeps them in: made here, small, and read without a network."""

import bz2
import hashlib
import json

import numpy as np
import pytest
import torch
import torchvision.datasets
from idx_files import idx
from PIL import Image
from scipy.io import savemat

from harness.data import content_hash, facts, load
from harness.data.sources import fetch
from harness.data.sources.torchvision import SETS
from harness.spec import DataSpec, InvalidInput


@pytest.fixture
def own(tmp_path, monkeypatch):
    """What PATCHBENCH_DATA names."""
    (tmp_path / "own").mkdir()
    monkeypatch.setenv("PATCHBENCH_DATA", str(tmp_path / "own"))
    there = "_check_integrity"  # in place of the MD5 of the true files
    monkeypatch.setattr(torchvision.datasets.Flowers102, there, lambda self: self._images_folder.is_dir())
    return tmp_path / "own"


def of_idx(folder, names, labels, *, side=8):
    """IDX files of a part: image number n is of level n. `names` are those of images and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    levels = np.repeat(np.arange(len(labels), dtype=np.uint8), side**2).reshape(-1, side, side)
    (folder / names[0]).write_bytes(idx(levels))
    (folder / names[1]).write_bytes(idx(np.array(labels, dtype=np.uint8)))


def mnist_like(folder, train, test):
    for stem, labels in (("train", train), ("t10k", test)):
        of_idx(folder, (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"), labels)


def photograph(path, level, *, size=(9, 7)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)


@pytest.mark.parametrize("name", ["KMNIST", "MNIST", "FashionMNIST"])
def test_idx_files_are_read(own, name):
    mnist_like(own / name / "raw", [n % 3 for n in range(12)], [0, 1, 2])
    spec = DataSpec(source=f"torchvision:{name}")
    assert (facts(spec.source).classes, facts(spec.source).image_size, facts(spec.source).channels) == (3, 8, 1)
    data = load(spec, phase="confirm")
    assert data.test.images[:, 0, 7, 7].tolist() == [0, 1, 2]
    assert data.test.labels.tolist() == [0, 1, 2]
    assert torch.equal(data.train.labels, data.train.images[:, 0, 0, 0].long() % 3)


def test_classes_that_are_numbered_from_one_are_numbered_from_nought(own):
    folder = own / "EMNIST" / "raw"
    for part, labels in (("train", [1, 2, 3] * 4), ("test", [3, 1])):
        prefix = f"emnist-letters-{part}"
        of_idx(folder, (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"), labels)
    data = load(DataSpec(source="torchvision:EMNIST:letters"), phase="confirm")
    assert data.facts.classes == 3
    assert data.test.labels.tolist() == [2, 0]
    with pytest.raises(InvalidInput, match="Dataset not found"):
        load(DataSpec(source="torchvision:EMNIST"))


def test_usps_is_read_from_its_text_where_it_is_whole(own):
    for name, labels in (("usps.bz2", [1, 2] * 6), ("usps.t.bz2", [2, 1])):
        rows = (f"{label} " + " ".join(f"{at}:{label - 2}" for at in range(1, 257)) for label in labels)
        (own / name).write_bytes(bz2.compress("\n".join(rows).encode()))
    data = load(DataSpec(source="torchvision:USPS"), phase="confirm")
    assert data.test.labels.tolist() == [1, 0]
    assert data.test.images[:, 0, 0, 0].tolist() == [127, 0]  # -1..1 spread over 0..255
    whole = bytearray((own / "usps.bz2").read_bytes())
    whole[60] ^= 1
    (own / "usps.bz2").write_bytes(whole)
    with pytest.raises(InvalidInput, match=r"torchvision:USPS cannot be read\. Tried:\n  .*/own: "):
        load(DataSpec(source="torchvision:USPS"))


def test_svhn_is_read_where_its_md5_is_right(own, monkeypatch):
    known = {}
    for part, labels in (("train", [10, 1] * 6), ("test", [1, 10])):
        images = np.zeros((32, 32, 3, len(labels)), dtype=np.uint8)
        images[..., 0, :] = np.arange(len(labels))
        path = own / f"{part}_32x32.mat"
        savemat(path, {"X": images, "y": np.array(labels, dtype=np.uint8)[:, None]})
        known[part] = ["http://nowhere", path.name, hashlib.md5(path.read_bytes()).hexdigest()]
    with pytest.raises(InvalidInput, match="Dataset not found or corrupted"):
        load(DataSpec(source="torchvision:SVHN"))
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", known)
    data = load(DataSpec(source="torchvision:SVHN"), phase="confirm")
    assert data.test.images[1, :, 5, 5].tolist() == [1, 0, 0]
    assert data.test.labels.tolist() == [1, 0]


def test_stl10_is_read_by_channels_and_columns(own, monkeypatch):
    names = []
    for part, labels in (("train", [1, 2] * 4), ("test", [2, 1])):
        images = np.zeros((len(labels), 3, 96, 96), dtype=np.uint8)
        images[:, 0, 90, 2] = 7  # stored by columns: 90 across, 2 down
        for name, array in ((f"{part}_X.bin", images), (f"{part}_y.bin", np.array(labels, dtype=np.uint8))):
            (own / "stl10_binary").mkdir(exist_ok=True)
            (own / "stl10_binary" / name).write_bytes(array.tobytes())
            names.append([name, hashlib.md5(array.tobytes()).hexdigest()])
    (own / "stl10_binary" / "class_names.txt").write_text("a\nb\n")
    monkeypatch.setattr(torchvision.datasets.STL10, "train_list", [*names[:2], names[0]])
    monkeypatch.setattr(torchvision.datasets.STL10, "test_list", names[2:])
    data = load(DataSpec(source="torchvision:STL10"), phase="confirm")
    assert data.test.images[0, 0, 2, 90] == 7
    assert data.test.labels.tolist() == [1, 0]


def flowers(own):
    folder = own / "flowers-102"
    for number in range(1, 13):
        photograph(folder / "jpg" / f"image_{number:05d}.jpg", 10 * number)
    savemat(folder / "imagelabels.mat", {"labels": np.array([1 + n % 2 for n in range(12)])})
    savemat(folder / "setid.mat", {"trnid": np.arange(1, 7), "valid": np.arange(7, 10), "tstid": np.arange(10, 13)})


def gtsrb(own):
    folder = own / "gtsrb"
    for label in range(2):
        for number in range(4):
            photograph(folder / f"GTSRB/Training/{label:05d}/{number}.ppm", 100 * label + number, size=(9 + label, 7))
    lines = ["Filename;ClassId", *(f"{number}.ppm;{number % 2}" for number in range(3))]
    (folder / "GT-final_test.csv").write_text("\n".join(lines))
    for number in range(3):
        photograph(folder / f"GTSRB/Final_Test/Images/{number}.ppm", 200 + number)


def pets(own):
    folder = own / "oxford-iiit-pet"
    (folder / "annotations").mkdir(parents=True)
    for part, first in (("trainval", 0), ("test", 10)):
        rows = [f"cat_{first + n} {1 + n % 2} 1 1" for n in range(6)]
        (folder / "annotations" / f"{part}.txt").write_text("\n".join(rows))
        for n in range(6):
            photograph(folder / "images" / f"cat_{first + n}.jpg", 10 * (first + n))


def food(own):
    for part, first in (("train", 0), ("test", 10)):
        meta = {name: [f"{name}/{first + n}" for n in range(4)] for name in ("apple", "bread")}
        (own / "food-101/meta").mkdir(parents=True, exist_ok=True)
        (own / f"food-101/meta/{part}.json").write_text(json.dumps(meta))
        for name in meta:
            for n in range(4):
                photograph(own / f"food-101/images/{name}/{first + n}.jpg", 10 * (first + n))


FILES = {
    "Flowers102": (flowers, (6, 3, 3), [100, 110, 120]),
    "GTSRB": (gtsrb, (6, 2, 3), [200, 201, 202]),
    "OxfordIIITPet": (pets, (4, 2, 6), [100, 110, 120, 130, 140, 150]),
    "Food101": (food, (6, 2, 8), [100, 110, 120, 130, 100, 110, 120, 130]),
}


@pytest.mark.parametrize(("name", "made"), FILES.items(), ids=FILES)
def test_files_are_read_as_photographs_are(own, name, made):
    make, sizes, levels = made
    make(own)
    data = load(DataSpec(source=f"torchvision:{name}", image_size=6, fit="pad", background=(9, 9, 9)), phase="confirm")
    assert (len(data.train), len(data.validation), len(data.test)) == sizes
    assert data.facts.own_validation == (name == "Flowers102")
    assert data.test.images[:, 0, 3, 3].tolist() == pytest.approx(levels, abs=2)
    assert (data.test.images[:, :, 0] == 9).all()


def test_the_identity_is_of_files_and_labels(own):
    flowers(own)
    spec = DataSpec(source="torchvision:Flowers102", image_size=6)
    one = content_hash(spec)
    savemat(own / "flowers-102/imagelabels.mat", {"labels": np.array([1 + n % 2 for n in range(11)] + [1])})
    two = content_hash(spec)
    photograph(own / "flowers-102/jpg/image_00001.jpg", 1)
    assert len({one, two, content_hash(spec)}) == 3


def test_a_name_that_leads_out_of_the_folder_is_refused(own):
    gtsrb(own)
    (own / "gtsrb/GT-final_test.csv").write_text("Filename;ClassId\n../../../../../etc/hostname;0\n")
    with pytest.raises(InvalidInput, match="leads out of the folder"):
        load(DataSpec(source="torchvision:GTSRB", image_size=6))


@pytest.mark.parametrize("raw", [b"", b"\0\0\x08\x03" + b"\xff" * 12, b"\0\0\x08\x03\0\0\0\x05\0\0\0\x05\0\0\0\x05abc"])
def test_damaged_idx_files_are_refused(own, raw):
    mnist_like(own / "KMNIST/raw", [0, 1] * 5, [0, 1])
    (own / "KMNIST/raw/train-images-idx3-ubyte").write_bytes(raw)
    with pytest.raises(InvalidInput, match=r"torchvision:KMNIST cannot be read\. Tried:\n  .*/own: "):
        load(DataSpec(source="torchvision:KMNIST"))


def test_what_is_missing_says_where_it_was_looked_for_and_how_to_get_it(own, cache):
    with pytest.raises(InvalidInput) as error:
        load(DataSpec(source="torchvision:KMNIST"))
    missing = "RuntimeError: Dataset not found. You can use download=True to download it"
    assert str(error.value) == (
        f"torchvision:KMNIST cannot be read. Tried:\n  {own}: {missing}\n  {cache}/torchvision: {missing}\n"
        "Download it by patchbench data get torchvision:KMNIST, or name the folder that torchvision keeps it in by "
        "PATCHBENCH_DATA."
    )


def test_a_download_goes_into_the_cache(cache, monkeypatch):
    def download(self):
        mnist_like(cache / "torchvision/KMNIST/raw", [0, 1] * 5, [0, 1])

    monkeypatch.setattr(torchvision.datasets.KMNIST, "download", download)
    fetch("torchvision:KMNIST")
    assert len(load(DataSpec(source="torchvision:KMNIST"), phase="confirm").test) == 2


def test_a_download_without_a_network_says_so():
    with pytest.raises(InvalidInput, match="torchvision:KMNIST could not be downloaded: "):
        fetch("torchvision:KMNIST")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("KMINST", "is no set with parts to train and to test on. Did you mean 'KMNIST'"),
        ("Caltech101", "is no set with parts to train and to test on"),
        ("CIFAR10", "data.source=cifar10 reads it"),
        ("KMNIST:letters", "takes no option 'letters'"),
        ("EMNIST:words", "Unknown value 'words' for argument split"),
    ],
)
def test_what_is_no_such_set_is_refused(own, name, message):
    with pytest.raises(InvalidInput, match=message):
        load(DataSpec(source=f"torchvision:{name}"))


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_one_of_torchvision_that_takes_what_it_is_given(own, name):
    """Each says that its files are missing, none that an argument is unknown."""
    with pytest.raises(InvalidInput) as error:
        load(DataSpec(source=f"torchvision:{name}"))
    assert "argument" not in str(error.value)
    assert "TypeError" not in str(error.value)
    assert "AttributeError" not in str(error.value)
