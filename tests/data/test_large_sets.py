"""Photographs that memory does not hold: the same images from a file of decoded ones, or decoded in each pass."""

import errno
import os
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from harness.data import load, photograph_source
from harness.data.photographs import Reading
from harness.data.splits import Batches, StreamedSplit, normalisation
from harness.data.survey import check
from harness.spec import DataSpec, InvalidInput


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    rows = ["path,label,split"]
    for part, images in (("train", 12), ("test", 4)):
        for name in ("cat", "dog"):
            for number in range(images):
                path = tmp_path / "set" / part / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (20 + number, 17, 3), dtype=np.uint8)).save(path)
                rows.append(f"{part}/{name}/{number}.png,{name},{part}")
    (tmp_path / "set" / "table.csv").write_text("\n".join(rows))
    return tmp_path / "set"


@pytest.fixture(params=["imagefolder", "csv"])
def spec(folder, request):
    place = folder if request.param == "imagefolder" else folder / "table.csv"
    return DataSpec(source=f"{request.param}:{place}", image_size=8, fit="pad")


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(photograph_source, "memory_limit", lambda: 100)


@pytest.fixture
def decoded(monkeypatch):
    """How often each file is decoded."""
    times = Counter()
    decode = Reading.__call__

    def counted(self, picture):
        times[str(picture)] += 1
        return decode(self, picture)

    monkeypatch.setattr(Reading, "__call__", counted)
    return times


def seen(data):
    """All that a training and its evaluations read."""
    chosen = torch.arange(len(data.train))
    batches = list(Batches(data.train, chosen, 5, seed=0).between(0, 6))
    chunks = [*data.validation.chunks(3), *data.test.chunks(3)]
    return [tensor for pair in [normalisation(data.train, chosen), *batches, *chunks] for tensor in pair]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_large_set_is_the_same_to_a_training(spec, monkeypatch, decoded):
    inside = load(spec, phase="confirm")
    monkeypatch.setattr(photograph_source, "memory_limit", lambda: 100)
    data = load(spec, phase="confirm")
    assert isinstance(data.train, StreamedSplit)
    assert data.hash == inside.hash
    assert equal(seen(data), seen(inside))
    load(spec, phase="confirm")
    assert set(decoded.values()) == {2}  # once for the memory, once for the disk


def test_without_room_on_the_disk_it_is_decoded_in_each_pass(spec, monkeypatch, caplog, cache):
    inside = load(spec, phase="confirm")
    shutil.rmtree(cache / "decoded")
    monkeypatch.setattr(photograph_source, "memory_limit", lambda: 100)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(10**6, 10**6, 100))
    data = load(spec, phase="confirm")
    assert data.train.pixels is None
    assert data.validation.pixels is None
    assert "are decoded in each pass, not kept: 0.0 GB would take more than half" in caplog.text
    assert equal(seen(data), seen(inside))
    assert not (cache / "decoded").exists()


def test_a_disk_that_fills_up_is_survived(spec, little_memory, monkeypatch, caplog, cache):
    written = []

    def write(file, header):
        written.append(file.name)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np.lib.format, "write_array_header_1_0", write)
    data = load(spec, phase="confirm")
    assert data.train.pixels is None
    assert "No space left on device" in caplog.text
    assert len(written) == 3
    assert list((cache / "decoded").iterdir()) == []
    seen(data)


def test_a_cache_that_cannot_be_written_is_survived(folder, little_memory, tmp_path, monkeypatch):
    spec = DataSpec(source=f"imagefolder:{folder}", image_size=8)
    load(spec)  # the index is there
    (tmp_path / "cache" / "decoded").rename(tmp_path / "cache" / "before")
    (tmp_path / "cache" / "decoded").touch()
    assert load(spec).train.pixels is None


def test_decoded_images_that_are_damaged_are_made_again(spec, little_memory, cache, caplog, decoded):
    before = seen(load(spec, phase="confirm"))
    for path in (cache / "decoded").glob("*.npy"):
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(bytes(raw))
    assert equal(seen(load(spec, phase="confirm")), before)
    assert len(list((cache / "decoded").iterdir())) == 3
    assert "is damaged" in caplog.text
    assert set(decoded.values()) == {2}


def test_a_changed_photograph_is_decoded_anew(spec, folder, little_memory):
    load(spec, phase="confirm")
    Image.new("RGB", (30, 30), (7, 7, 7)).save(folder / "test" / "cat" / "0.png")
    (images, _), *_ = load(spec, phase="confirm").test.chunks(1)
    assert (images == 7).all()


def test_the_test_part_stays_shut_while_tuning(spec, little_memory, decoded):
    with pytest.raises(RuntimeError):
        _ = load(spec).test
    assert not any("/test/" in name for name in decoded)


def test_duplicates_of_a_large_set_are_found_by_its_files(spec, folder, little_memory):
    shutil.copy(folder / "train" / "cat" / "0.png", folder / "test" / "dog" / "0.png")
    found, _ = check(spec)
    assert (found.duplicates.compared, found.duplicates.test_in_train) == ("bytes of the files", 1)


def test_evaluations_of_an_imagenet_are_decoded_once_and_trainings_cropped(tmp_path, folder, decoded):
    (folder / "test").rename(folder / "val")
    spec = DataSpec(source=f"imagenet:{folder}", image_size=8)
    data = load(spec, phase="confirm")
    assert data.train.pixels is None
    assert data.train.crops
    first = [images for images, _ in [*data.validation.chunks(4), *data.test.chunks(4)]]
    second = [images for images, _ in [*data.validation.chunks(4), *data.test.chunks(4)]]
    assert equal(first, second)
    assert set(decoded.values()) == {1}
    assert len(decoded) == len(data.validation) + 8
    reading = Reading(side=8, channels=3, fit="crop", background=(255, 255, 255), share=7 / 8)
    assert np.array_equal(first[-1][-1].numpy(), reading(data.test.source.picture(int(data.test.positions[-1]))))
    (images, _), *_ = data.train.as_evaluated().chunks(4)
    assert np.array_equal(images[0].numpy(), reading(data.train.source.picture(int(data.train.positions[0]))))


def test_a_set_of_which_memory_holds_no_batch_is_refused(folder, little_memory, monkeypatch):
    monkeypatch.setattr("harness.data.source.memory_limit", lambda: 1000)
    with pytest.raises(InvalidInput, match=r"at 8 pixels takes .* Lower data\.image_size"):
        load(DataSpec(source=f"imagefolder:{folder}", image_size=8))
