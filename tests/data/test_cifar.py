"""The pickles of CIFAR are read as data: whatever they name, nothing is called."""

import hashlib
import os
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.cifar_batches import parse_batch, read_batch
from harness.data.fetching import Unusable

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
LABELS = [3, 0, 9, 9]


def batch(**changes: Any) -> dict[str, Any]:
    return {"batch_label": "one", "labels": LABELS, "data": PIXELS, "filenames": ["a.png"] * 4} | changes


def of_python_2(labels: str = "labels") -> bytes:
    """A batch as the true ones are: text and pixels in Python 2's strings of bytes."""
    pixels = b"T" + (4 * 3072).to_bytes(4, "little") + PIXELS.tobytes()
    kind = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    state = b"(K\x01K\x04M\x00\x0c\x86" + kind + b"\x89" + pixels + b"tb"
    name = b"U" + bytes([len(labels)]) + labels.encode()
    return (
        b"\x80\x02}("
        + name
        + b"("
        + b"".join(b"K" + bytes([n]) for n in LABELS)
        + b"lU\x04data"
        + array
        + state
        + b"u."
    )


@pytest.mark.parametrize("raw", [*(pickle.dumps(batch(), protocol) for protocol in (3, 4)), of_python_2()])
def test_a_batch_is_what_numpy_reads(raw):
    trusted = pickle.loads(raw, encoding="latin1")
    assert np.array_equal(trusted["data"], PIXELS)
    images, labels = parse_batch(raw, "batch", 10)
    assert np.array_equal(images.reshape(4, 3072), PIXELS)
    assert (labels.dtype, labels.tolist()) == (np.int64, LABELS)


def test_cifar_100_has_its_fine_labels():
    _, labels = parse_batch(of_python_2("fine_labels"), "train", 100)
    assert labels.tolist() == LABELS
    with pytest.raises(Unusable, match="no batch of CIFAR"):
        parse_batch(of_python_2("labels"), "train", 100)


class Trap:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "where",
    [
        lambda trap: trap,
        lambda trap: batch(data=trap),
        lambda trap: batch(labels=[trap]),
        lambda trap: batch(more={"deep": [trap]}),
    ],
)
@pytest.mark.parametrize("call", [(os.mkdir, ("sprung",)), (eval, ("open('sprung', 'w')",)), (np.fromfile, ("x",))])
def test_a_pickle_that_names_a_function_is_refused_and_nothing_is_called(tmp_path, monkeypatch, where, call):
    monkeypatch.chdir(tmp_path)
    raw = pickle.dumps(where(Trap(*call)))
    with pytest.raises(Unusable, match=r"batch is no batch of CIFAR: it names .*, which no batch of CIFAR does"):
        parse_batch(raw, "batch", 10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        batch(labels=LABELS[:3]),
        batch(labels=[3, 0, 9, 10]),
        batch(labels=[3, 0, 9, -1]),
        batch(labels=[3, 0, 9, True]),
        batch(labels=[3, 0, 9, 10**30]),
        batch(labels="3099"),
        batch(data=PIXELS.tolist()),
        batch(data=PIXELS[:, :3000]),
        batch(data=PIXELS.astype(np.int16)),
        batch(data=np.asfortranarray(PIXELS)),
        batch(data=np.dtype("u1")),
    ],
)
def test_what_is_no_batch_is_refused(content):
    with pytest.raises(Unusable, match="no batch of CIFAR"):
        parse_batch(pickle.dumps(content, 4), "batch", 10)


HOSTILE = {
    "a memo of gigabytes": b"\x80\x02K\x01r\xff\xff\xff\x7f.",
    "a string of terabytes": b"\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00x.",
    "lists without end": b"(" * 100_000 + b"l" * 100_000 + b".",
    "a persistent id": b"Pname\n.",
    "an extension": b"\x80\x02\x82\x01.",
    "nothing": b"",
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_pickle_is_refused(raw):
    with pytest.raises(Unusable, match="no batch of CIFAR"):
        parse_batch(raw, "batch", 10)


@given(st.integers(0, 400), st.integers(1, 255))
def test_any_damaged_byte_is_refused_or_read_as_a_batch(at, change):
    raw = bytearray(of_python_2())
    raw[at] ^= change
    try:
        images, labels = parse_batch(bytes(raw), "batch", 10)
    except Unusable:
        return
    assert images.shape == (len(labels), 3, 32, 32)


def test_a_file_is_checked_before_it_is_read(tmp_path):
    path = tmp_path / "batch"
    raw = pickle.dumps(Trap(os.mkdir, (str(tmp_path / "sprung"),)))
    path.write_bytes(raw)
    with pytest.raises(Unusable, match=f"batch is damaged: MD5 {hashlib.md5(raw).hexdigest()}, expected {'0' * 32}"):
        read_batch(path, "0" * 32, 10)
    with pytest.raises(Unusable, match="no batch of CIFAR"):
        read_batch(path, hashlib.md5(raw).hexdigest(), 10)
    with pytest.raises(Unusable, match="nothing: No such file"):
        read_batch(tmp_path / "nothing", "0" * 32, 10)
    assert list(tmp_path.iterdir()) == [path]
