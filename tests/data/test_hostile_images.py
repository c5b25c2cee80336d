"""Images that somebody else has made: decoded within bounds, and by the formats we name only."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.data import content_hash, load
from harness.data.photographs import Reading, opened
from harness.data.sources import find
from harness.data.sources.folders import SUFFIXES
from harness.spec import DataSpec, InvalidInput


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(5):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    return tmp_path / "images"


def read(folder, **fields):
    return load(DataSpec(source=f"imagefolder:{folder}", **fields))


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(wide, high):
    """A whole PNG that announces any size and holds a few bytes."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", wide, high, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((60_000, 60_000), "exceeds limit"),
        ((12_000, 12_000), "exceeds limit"),
        ((2**31 - 1, 1), "exceeds limit"),
    ],
)
def test_an_absurd_image_is_refused_by_its_header(folder, size, message):
    (folder / "dog" / "5.png").write_bytes(png(*size))
    with pytest.raises(InvalidInput, match=rf"dog/5\.png .*{message}"):
        read(folder, image_size=8)


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [(200, 1), (3, 30_000)])
def test_long_images_are_read(folder, size, fit):
    Image.new("RGB", size).save(folder / "dog" / "5.png")
    assert len(read(folder, image_size=8, fit=fit).train) > 0


@pytest.mark.parametrize("head", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"SIMPLE  =", b"8BPS\0\1"])
def test_formats_that_start_programs_or_are_rare_are_never_asked(folder, head):
    (folder / "dog" / "5.png").write_bytes(head + b" " * 5000)
    with pytest.raises(InvalidInput, match=r"dog/5\.png is not an image that can be read"):
        read(folder, image_size=8)


def test_every_suffix_has_a_reader(tmp_path):
    kinds = {".jpg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".tif": "TIFF", ".pgm": "PPM"}
    for suffix in SUFFIXES:
        path = tmp_path / f"image{suffix}"
        Image.new("RGB", (8, 8), (9, 9, 9)).save(path, format=kinds.get(suffix, suffix[1:].upper()))
        with opened(path) as image:
            assert image.convert("RGB").size == (8, 8)


def whole(kind):
    buffer = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(buffer, format=kind)
    return buffer.getvalue()


WHOLE = {kind: whole(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "PPM", "WEBP")}


@settings(deadline=None)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_a_damaged_image_is_read_or_refused_with_its_name(tmp_path_factory, kind, data):
    content = bytearray(WHOLE[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "image.png"
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        pixels = Reading(side=8, channels=3, fit="crop", background=(255, 255, 255))(path)
        assert pixels.shape == (3, 8, 8)
    except InvalidInput as error:
        assert str(path) in str(error)  # noqa: PT017 (to be read is as right)


def test_a_pipe_is_not_read(folder):
    os.mkfifo(folder / "dog" / "5.png")
    with pytest.raises(InvalidInput, match=r"dog/5\.png is a link that leads to nothing, or no plain file"):
        find(f"imagefolder:{folder}")


@pytest.mark.parametrize("name", ["<script>alert(1)<", "=1+1", "a\nb", "x" * 200, "caf\udce9", "[red]", "%s{0}"])
def test_class_folders_may_have_any_name(folder, name):
    try:
        (folder / "cat").rename(folder / name)
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system does not take the name")
    assert len(read(folder).train) == 6
    (folder / name / "9.png").write_text("no image")
    with pytest.raises(InvalidInput, match=r"9\.png is not an image"):
        read(folder)


def test_a_changed_file_with_its_old_times_is_noticed(folder):
    """As a copy that keeps times leaves it: same size, same time of modification."""
    path = folder / "cat" / "0.png"
    spec = DataSpec(source=f"imagefolder:{folder}")
    before, status = content_hash(spec), path.stat()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(bytes(content))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert content_hash(spec) != before
