"""Where the named sources come from, in which order, and what happens to damaged files."""

import gzip
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.data import content_hash, load
from harness.data.cache import stored, write_whole
from harness.data.sources import named_files
from harness.data.survey import survey
from harness.spec import NAMED_SOURCES, DataSpec, InvalidInput, SourceFacts

SPEC = DataSpec()


def flip_byte(path, at=100):
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["", "fashion-mnist", "FashionMNIST/raw"])
def test_the_users_folder_comes_first(tiny, tmp_path, monkeypatch, packed, below, cache):
    tiny.put(tmp_path / "own" / below, packed=packed)
    monkeypatch.setenv("PATCHBENCH_DATA", str(tmp_path / "own"))
    data = load(SPEC, phase="confirm")
    assert (len(data.train), len(data.validation), len(data.test)) == (50, 10, 20)
    raw = tiny.contents["t10k-images-idx3-ubyte"][16:]
    assert data.test.images.numpy().tobytes() == raw
    assert not cache.exists()


@pytest.mark.parametrize("packed", [False, True])
def test_one_wrong_byte_in_the_users_folder_names_file_and_hashes(tiny, tmp_path, monkeypatch, packed):
    own = tiny.put(tmp_path / "own", packed=False)
    tiny.put(tmp_path / "system")  # a good copy elsewhere does not excuse a bad one that the user named
    monkeypatch.setenv("PATCHBENCH_DATA", str(own))
    path = own / "train-images-idx3-ubyte"
    flip_byte(path)
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if packed:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
        path = path.with_name(f"{path.name}.gz")
    with pytest.raises(InvalidInput) as error:
        load(SPEC)
    expected = named_files.PUBLISHED["fashion_mnist"].files[path.name.removesuffix(".gz")]
    assert str(error.value) == (
        f"{path} is damaged: its content has SHA-256 {found} (47,056 bytes), expected {expected}. "
        "Replace it, or unset PATCHBENCH_DATA."
    )


def test_a_file_that_unpacks_to_too_much_is_refused_early(tiny, tmp_path, monkeypatch):
    own = tiny.put(tmp_path / "own", packed=True)
    monkeypatch.setenv("PATCHBENCH_DATA", str(own))
    monkeypatch.setattr(named_files, "MOST_BYTES", 10**6)
    (own / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(50_000_000)))
    with pytest.raises(InvalidInput, match=r"is damaged: .* \(1,000,000 bytes\)"):
        load(SPEC)


def test_a_cut_gzip_file_is_named(tiny, tmp_path, monkeypatch):
    own = tiny.put(tmp_path / "own", packed=True)
    monkeypatch.setenv("PATCHBENCH_DATA", str(own))
    path = own / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidInput, match=r"train-images-idx3-ubyte\.gz cannot be read"):
        load(SPEC)


def answering(contents):
    """A server that has these files packed."""
    return lambda url, timeout: io.BytesIO(gzip.compress(contents[url.rpartition("/")[2].removesuffix(".gz")]))


def test_a_damaged_cache_is_built_again(tiny, cache, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", answering(tiny.contents))
    good = load(SPEC)
    kept = cache / "fashion_mnist" / "train-images-idx3-ubyte"
    flip_byte(kept)
    again = load(SPEC)
    assert torch.equal(good.train.images, again.train.images)
    assert kept.read_bytes() == tiny.contents[kept.name]


def test_nothing_found_lists_every_place_and_the_files_that_would_do(tiny, tmp_path, cache):
    with pytest.raises(InvalidInput) as error:
        load(SPEC)
    assert str(error.value) == (
        "Cannot find fashion_mnist's train-images-idx3-ubyte.\nTried:\n"
        "  PATCHBENCH_DATA: no train-images-idx3-ubyte in it\n"
        f"  cache: no train-images-idx3-ubyte in {cache}/fashion_mnist\n"
        f"  system: no train-images-idx3-ubyte in {tmp_path}/system\n"
        "  Debian package dataset-fashion-mnist: [Errno 2] No such file or directory: 'apt-get'\n"
        "  download: <urlopen error no network in tests>\n"
        "Put train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte into a "
        "folder and name it by PATCHBENCH_DATA; or install dataset-fashion-mnist."
    )
    assert not cache.exists()


def test_a_damaged_system_file_is_passed_over_but_told(tiny, tmp_path):
    flip_byte(tiny.put(tmp_path / "system") / "train-images-idx3-ubyte")
    with pytest.raises(InvalidInput, match=r"system: .* is damaged: its content has SHA-256"):
        load(SPEC)


def test_the_package_is_unpacked_into_the_cache(tiny, tmp_path, monkeypatch):
    commands = []

    def run(command, folder):
        commands.append(command)
        if command[0] == "apt-get":
            (Path(folder) / "dataset-fashion-mnist_1_all.deb").touch()
        else:
            tiny.put(
                Path(folder) / "unpacked" / named_files.PUBLISHED["fashion_mnist"].system.relative_to("/"), packed=True
            )

    monkeypatch.setattr(named_files, "_run", run)
    assert len(load(SPEC, phase="confirm").test) == 20
    assert [command[0] for command in commands] == ["apt-get", "dpkg-deb"]


def test_a_failing_command_gives_its_last_line(tiny, tmp_path):
    (tmp_path / "apt-get").write_text("#!/bin/sh\necho trying >&2; echo E: no such package >&2; exit 100\n")
    (tmp_path / "apt-get").chmod(0o755)
    with pytest.raises(InvalidInput, match=r"Debian package dataset-fashion-mnist: E: no such package"):
        load(SPEC)


def test_a_download_is_checked_and_kept(tiny, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", answering(tiny.contents))
    assert len(load(SPEC, phase="confirm").test) == 20
    monkeypatch.setattr(urllib.request, "urlopen", None)
    assert len(load(SPEC, phase="confirm").test) == 20


def test_a_cache_that_cannot_be_written_says_what_to_do(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", answering(tiny.contents))
    (tmp_path / "file").touch()
    monkeypatch.setenv("PATCHBENCH_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InvalidInput, match=r"Cannot write train-images-idx3-ubyte .*: Not a directory\. .* PATCH"):
        load(SPEC)


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    def write(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InvalidInput, match="No space left on device"):
        write_whole(tmp_path / "there", "name", write)
    assert list((tmp_path / "there").iterdir()) == []


def test_resized_images_are_kept_checked_and_built_again(tiny, tmp_path, cache):
    tiny.put(tmp_path / "system")
    spec = DataSpec(image_size=14)
    first = load(spec)
    assert first.train.images.shape == (50, 1, 14, 14)
    assert first.facts.image_size == 14
    native = load(SPEC).train.images.float()
    assert (first.train.images.float().mean() - native.mean()).abs() < 1  # antialiased: the mean stays
    (kept,) = (cache / "decoded").iterdir()
    flip_byte(kept, at=500)
    assert torch.equal(load(spec).train.images, first.train.images)
    assert list((cache / "decoded").iterdir()) == [kept]


def test_nothing_is_kept_where_building_fails(cache):
    def fail():
        raise InvalidInput("no")

    with pytest.raises(InvalidInput):
        stored("key", (1,), fail)
    assert not (cache / "decoded").exists()


def test_two_processes_may_fill_the_cache_at_once(cache):
    code = (
        "import time, numpy as np\n"
        "from harness.data.cache import stored\n"
        "def build():\n"
        "    time.sleep(0.3)\n"
        "    return [np.full((1000, 1, 10, 10), 7, dtype=np.uint8)]\n"
        "for _ in range(3): assert (stored('k', (1000, 1, 10, 10), build) == 7).all()\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(60) for process in running] == [0, 0]
    assert [path.suffix for path in (cache / "decoded").iterdir()] == [".npy"]


def test_the_test_split_stays_shut_while_tuning(tiny, tmp_path):
    system = tiny.put(tmp_path / "system")
    for path in system.glob("t10k*"):
        path.unlink()  # not even read
    data = load(SPEC, phase="tune")
    with pytest.raises(RuntimeError, match="tune phase"):
        _ = data.test


def test_the_held_out_images_follow_from_the_split_seed(tiny, tmp_path):
    tiny.put(tmp_path / "system")
    one, same, other = (load(DataSpec(split_seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(one.validation.images, same.validation.images)
    assert not torch.equal(one.validation.images, other.validation.images)
    assert torch.bincount(one.validation.labels).tolist() == [1] * 10
    both = torch.cat([one.train.images, one.validation.images]).flatten(1)
    assert len(both.unique(dim=0)) == 60


def test_digits_need_no_files():
    data = load(DataSpec(source="digits"), phase="confirm")
    assert (len(data.train), len(data.validation), len(data.test)) == (1257, 180, 360)
    assert data.train.images.shape[1:] == (1, 8, 8)
    assert data.train.images.max() == 255
    assert data.hash == content_hash(DataSpec(source="digits"))
    assert content_hash(DataSpec(source="digits")) == "cfc5c7f439dc164ac94da25abd76fe869cd4db61685be7c7e7225fd3834c0251"
    assert torch.bincount(data.test.labels).min() >= 34


def test_each_source_has_its_own_identity():
    hashes = {content_hash(DataSpec(source=source)) for source in ("fashion_mnist", "cifar10", "cifar100", "digits")}
    assert len(hashes) == 4
    assert all(len(value) == 64 for value in hashes)


def test_a_missing_cifar_lists_what_was_tried(cache):
    with pytest.raises(InvalidInput) as error:
        load(DataSpec(source="cifar10"))
    assert str(error.value) == (
        "Cannot find cifar10's cifar-10-batches-py/data_batch_1.\nTried:\n"
        "  PATCHBENCH_DATA: no cifar-10-batches-py/data_batch_1 in it\n"
        f"  cache: no cifar-10-batches-py/data_batch_1 in {cache}/cifar10\n"
        "  download: <urlopen error no network in tests>\n"
        "Put cifar-10-python.tar.gz into a folder and name it by PATCHBENCH_DATA."
    )


@pytest.fixture
def tiny_cifar(tmp_path, monkeypatch):
    """A CIFAR-10 archive of 50 training and 20 test images, whose hashes are taken for the true ones."""
    rng = np.random.default_rng(0)

    def batch(n):
        images = rng.integers(0, 256, (n, 3072), dtype=np.uint8)
        return pickle.dumps({"data": images, "labels": [i % 10 for i in range(n)]})

    members = {"cifar-10-batches-py/data_batch_1": batch(50), "cifar-10-batches-py/test_batch": batch(20)}
    path = tmp_path / "own" / "cifar-10-python.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for name, raw in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))
    archive = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
    files = {name: hashlib.md5(raw).hexdigest() for name, raw in members.items()}
    published = replace(named_files.PUBLISHED["cifar10"], archive=archive, files=files)
    monkeypatch.setitem(named_files.PUBLISHED, "cifar10", published)
    facts = SourceFacts(image_size=32, channels=3, classes=10, train_images=50, test_images=20, validation_images=10)
    monkeypatch.setitem(NAMED_SOURCES, "cifar10", facts)
    return path


def test_cifar_from_the_users_archive(tiny_cifar, monkeypatch, cache):
    monkeypatch.setenv("PATCHBENCH_DATA", str(tiny_cifar.parent))
    data = load(DataSpec(source="cifar10"), phase="confirm")
    assert data.train.images.shape == (40, 3, 32, 32)
    assert torch.bincount(data.train.labels).tolist() == [4] * 10
    with tarfile.open(tiny_cifar) as archive:
        raw = pickle.loads(archive.extractfile("cifar-10-batches-py/test_batch").read())
    assert np.array_equal(data.test.images.numpy().reshape(20, 3072), raw["data"])
    monkeypatch.delenv("PATCHBENCH_DATA")
    assert len(load(DataSpec(source="cifar10"), phase="confirm").test) == 20


def test_a_damaged_cifar_archive_is_named(tiny_cifar, monkeypatch):
    monkeypatch.setenv("PATCHBENCH_DATA", str(tiny_cifar.parent))
    flip_byte(tiny_cifar)
    message = r"cifar-10-python\.tar\.gz is damaged: its content has SHA-256 .*, expected .* Replace it, or unset"
    with pytest.raises(InvalidInput, match=message):
        load(DataSpec(source="cifar10"))


def test_cifar_from_a_folder_that_is_unpacked(tiny_cifar, monkeypatch, cache):
    monkeypatch.setenv("PATCHBENCH_DATA", str(tiny_cifar.parent))
    with tarfile.open(tiny_cifar) as archive:
        archive.extractall(tiny_cifar.parent, filter="data")
    tiny_cifar.unlink()
    batch = tiny_cifar.parent / "cifar-10-batches-py" / "data_batch_1"
    assert len(load(DataSpec(source="cifar10")).train) == 40
    assert not cache.exists()
    flip_byte(batch, at=200)
    with pytest.raises(InvalidInput, match=r"data_batch_1 is damaged: .* MD5 .*, expected .* Replace it, or unset"):
        load(DataSpec(source="cifar10"))
    batch.unlink()
    with pytest.raises(InvalidInput, match="Cannot find cifar10's cifar-10-batches-py/data_batch_1"):
        load(DataSpec(source="cifar10"))


def test_a_damaged_batch_in_the_cache_is_made_again(tiny_cifar, monkeypatch, cache):
    monkeypatch.setenv("PATCHBENCH_DATA", str(tiny_cifar.parent))
    load(DataSpec(source="cifar10"))
    batch = cache / "cifar10/cifar-10-batches-py/data_batch_1"
    raw = batch.read_bytes()
    flip_byte(batch, at=200)
    assert len(load(DataSpec(source="cifar10")).train) == 40
    assert batch.read_bytes() == raw


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_a_pickle_that_names_a_function_is_refused_and_nothing_is_called(tiny_cifar, monkeypatch, tmp_path):
    """By its hash; and by what it names, were that the published one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATCHBENCH_DATA", str(tiny_cifar.parent))
    batch = tiny_cifar.parent / "cifar-10-batches-py" / "data_batch_1"
    batch.parent.mkdir()
    batch.write_bytes(pickle.dumps({"data": Trap(), "labels": []}))
    with pytest.raises(InvalidInput, match="data_batch_1 is damaged"):
        load(DataSpec(source="cifar10"))
    known = named_files.PUBLISHED["cifar10"]
    known.files["cifar-10-batches-py/data_batch_1"] = hashlib.md5(batch.read_bytes()).hexdigest()
    with pytest.raises(InvalidInput, match=r"names posix\.mkdir, which no batch does"):
        load(DataSpec(source="cifar10"))
    assert not (tmp_path / "sprung").exists()


HERE = named_files.PUBLISHED["fashion_mnist"].system.is_dir()


@pytest.mark.skipif(not HERE, reason="needs the Debian package dataset-fashion-mnist")
def test_fashion_mnist_itself():
    data = load(SPEC, phase="confirm")
    assert (len(data.train), len(data.validation), len(data.test)) == (55_000, 5_000, 10_000)
    assert torch.bincount(data.train.labels).tolist() == [5_500] * 10
    assert torch.bincount(data.validation.labels).tolist() == [500] * 10
    assert abs(data.train.images.float().mean().item() / 255 - 0.286) < 1e-3
    assert [row.name for row in survey(SPEC, data).classes][:2] == ["T-shirt/top", "Trouser"]


def test_more_classes_than_answers_are_kept_for_are_refused():
    most = SourceFacts(32, 3, 65_536, 70_000, 70_000, 70_000)
    with pytest.raises(InvalidInput, match=r"The data has 65,537 classes; at most 65,536: .* Take a coarser label"):
        replace(most, classes=65_537)
