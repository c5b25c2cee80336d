"""What comes out of an image file: mode x bit depth x orientation x format, against values worked out by hand."""

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from harness.data import facts, load, resolve
from harness.data.photographs import FORMATS, Reading, look
from harness.spec import DataSpec, InvalidInput

WHITE = (255, 255, 255)


def reading(channels=3, *, side=8, fit="crop", background=WHITE, share=1.0):
    return Reading(side=side, channels=channels, fit=fit, background=background, share=share)


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(depth, colour, row, wide, *, extra=b""):
    """A PNG of one row of samples, already packed: Pillow writes fewer depths than it reads."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", wide, 1, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")


def tiff(bits, row, wide, *, photometric=1, sample=1):
    """A little-endian TIFF of one row of grey samples, already packed."""
    tags = {256: wide, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 1, 279: len(row), 339: sample}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    content = row + b"\0" * (len(row) % 2)
    return b"II*\0" + struct.pack("<I", 8 + len(content)) + content + struct.pack("<H", len(tags)) + entries + b"\0" * 4


def grey(levels, dtype=np.uint8):
    return Image.fromarray(np.array([levels], dtype=dtype))


def of(mode, *pixels):
    image = Image.new(mode, (len(pixels), 1))
    image.putdata(pixels)
    return image


def indexed(*colours):
    image = Image.new("P", (len(colours), 1))
    image.putpalette([level for colour in colours for level in colour])
    image.putdata(range(len(colours)))
    return image


EXACT = {"PNG": {}, "TIFF": {}, "BMP": {}, "PPM": {}, "GIF": {}, "WEBP": {"lossless": True}}
BITS = of("1", 0, 255, 255)
LEVELS = [0, 100, 255]
SIXTEEN = [0, 25_700, 32_768, 65_535]  # 25,700 = 100 * 257
EIGHT = [0, 100, 128, 255]
COLOURS = [(255, 0, 0), (10, 200, 30), (0, 0, 0)]
HIDDEN = [(255, 0, 0, 0), (0, 100, 200, 51), (10, 20, 30, 255)]  # nothing to see; a fifth; all
SEEN = [(255, 255, 255), (204, 224, 244), (10, 20, 30)]  # a fifth of 0, 100, 200 and four fifths of 255
SEEN_ON_BLUE = [(0, 0, 255), (0, 20, 244), (10, 20, 30)]
GREY_ALPHA = [(0, 0), (100, 51), (100, 255)]
BIG = np.array(SIXTEEN, dtype=">u2")

TABLE = [
    # (mode as stored, format, what goes in, the file's content, what comes out)
    *(("1 bit", kind, "0, 1, 1", saved(BITS, kind), [0, 255, 255]) for kind in ("PNG", "TIFF", "BMP", "PPM", "GIF")),
    ("grey, 2 bits", "PNG", "0, 1, 2, 3", png(2, 0, b"\x1b", 4), [0, 85, 170, 255]),
    ("grey, 4 bits", "PNG", "0, 4, 15", png(4, 0, b"\x04\xf0", 3), [0, 68, 255]),
    *(
        ("grey, 8 bits", kind, "0, 100, 255", saved(grey(LEVELS), kind, **options), LEVELS)
        for kind, options in EXACT.items()
    ),
    ("grey, 12 bits", "TIFF", "0, 273, 4095", tiff(12, b"\x00\x01\x11\xff\xf0", 3), [0, 17, 255]),
    ("grey, 16 bits (I;16)", "PNG", str(SIXTEEN), saved(grey(SIXTEEN, "<u2"), "PNG"), EIGHT),
    ("grey, 16 bits (I;16)", "TIFF, II", str(SIXTEEN), saved(grey(SIXTEEN, "<u2"), "TIFF"), EIGHT),
    ("grey, 16 bits (I;16B)", "TIFF, MM", str(SIXTEEN), saved(grey(SIXTEEN, ">u2"), "TIFF"), EIGHT),
    ("grey, 16 bits (I)", "PPM", str(SIXTEEN), saved(grey(SIXTEEN, "<u2"), "PPM"), EIGHT),
    ("grey, 16 bits, white is 0", "TIFF", str(SIXTEEN),
     tiff(16, np.array(SIXTEEN, "<u2").tobytes(), 4, photometric=0), [255, 155, 127, 0]),
    ("grey, 16 bits, signed (I)", "TIFF", "0, 25700", tiff(16, np.array([0, 25_700], "<i2").tobytes(), 2, sample=2),
     [0, 100]),
    ("grey, 32 bits, signed (I)", "TIFF", str(SIXTEEN), saved(grey(SIXTEEN, np.int32), "TIFF"), EIGHT),
    ("grey, 32 bits, unsigned (I)", "TIFF", str(SIXTEEN), tiff(32, np.array(SIXTEEN, "<u4").tobytes(), 4), EIGHT),
    ("grey, float (F)", "TIFF", "0, 0.2, 1", saved(grey([0, 0.2, 1], np.float32), "TIFF"), [0, 51, 255]),
    ("grey, float (F)", "PPM", "0, 0.2, 1", saved(grey([0, 0.2, 1], np.float32), "PPM"), [0, 51, 255]),
    ("grey and alpha (LA)", "PNG", str(GREY_ALPHA), saved(of("LA", *GREY_ALPHA), "PNG"), [255, 224, 100]),
    ("grey and alpha (LA)", "TIFF", str(GREY_ALPHA), saved(of("LA", *GREY_ALPHA), "TIFF"), [255, 224, 100]),
    ("grey and alpha, 16 bits", "PNG", "(0, 0), (25700, 65535)",
     png(16, 4, np.array([0, 0, 25_700, 65_535], ">u2").tobytes(), 2), [255, 100]),
    ("grey, one level transparent", "PNG", "0, 100*, 255", saved(grey(LEVELS), "PNG", transparency=100), [0, 255, 255]),
    ("grey, 16 bits, one transparent", "PNG", "0*, 25700, 32768, 65535",
     png(16, 0, BIG.tobytes(), 4, extra=chunk(b"tRNS", b"\0\0")), [255, 100, 128, 255]),
    *(
        ("RGB, 8 bits", kind, str(COLOURS), saved(of("RGB", *COLOURS), kind, **options), COLOURS)
        for kind, options in EXACT.items()
    ),
    ("RGB, 16 bits", "PNG", "(65535, 25700, 0)", png(16, 2, np.array([65_535, 25_700, 0], ">u2").tobytes(), 1),
     [(255, 100, 0)]),
    ("RGB, one colour transparent", "PNG", "(255, 0, 0)*, ...",
     saved(of("RGB", *COLOURS), "PNG", transparency=COLOURS[0]), [(255, 255, 255), *COLOURS[1:]]),
    *(
        ("RGBA", kind, str(HIDDEN), saved(of("RGBA", *HIDDEN), kind, **options), SEEN)
        for kind, options in {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True, "exact": True}}.items()
    ),
    ("RGBA, 16 bits", "PNG", "(65535, 0, 0, 0), (25700, 0, 0, 65535)",
     png(16, 6, np.array([65_535, 0, 0, 0, 25_700, 0, 0, 65_535], ">u2").tobytes(), 2), [(255, 255, 255), (100, 0, 0)]),
    *(("palette (P)", kind, str(COLOURS), saved(indexed(*COLOURS), kind), COLOURS)
      for kind in ("PNG", "GIF", "TIFF", "BMP")),
    ("palette, alpha per colour", "PNG", str(HIDDEN),
     saved(indexed(*(colour[:3] for colour in HIDDEN)), "PNG", transparency=bytes([0, 51, 255])), SEEN),
    ("palette, one transparent", "PNG", "(255, 0, 0)*, ...", saved(indexed(*COLOURS), "PNG", transparency=0),
     [(255, 255, 255), *COLOURS[1:]]),
    ("palette, one transparent", "GIF", "(255, 0, 0)*, ...", saved(indexed(*COLOURS), "GIF", transparency=0),
     [(255, 255, 255), *COLOURS[1:]]),
    ("CMYK", "TIFF", "(0, 255, 255, 0), (0, 0, 0, 51)", saved(of("CMYK", (0, 255, 255, 0), (0, 0, 0, 51)), "TIFF"),
     [(255, 0, 0), (204, 204, 204)]),
    ("YCbCr", "TIFF", "(76, 85, 255), (100, 128, 128)", saved(of("YCbCr", (76, 85, 255), (100, 128, 128)), "TIFF"),
     [(254, 0, 0), (100, 100, 100)]),
]  # fmt: skip

LOSSY = [  # of one colour each: within 3 levels
    ("grey, 8 bits", "JPEG", "100", saved(Image.new("L", (16, 16), 100), "JPEG"), 100),
    ("RGB, 8 bits", "JPEG", "(200, 50, 50)", saved(Image.new("RGB", (16, 16), (200, 50, 50)), "JPEG"), (200, 50, 50)),
    ("CMYK", "JPEG", "(0, 255, 255, 0)", saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"), (255, 0, 0)),
    ("RGB, 8 bits", "WEBP", "(200, 50, 50)", saved(Image.new("RGB", (16, 16), (200, 50, 50)), "WEBP"), (200, 50, 50)),
    # CIE: the grey of L* = 50 is (116 / 66)^-3 = 0.184 of white's light, which sRGB writes as 119
    ("LAB", "TIFF", "(50 %, 0, 0)", saved(Image.merge("LAB", [Image.new("L", (16, 16), level) for level in
                                                             (128, 128, 128)]), "TIFF"), (119, 119, 119)),
]  # fmt: skip


@pytest.fixture
def put(tmp_path):
    def write(content, name="image"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def pixels(path, channels=3, **fields):
    """The first row of what is read: a list of levels or of colours."""
    image = reading(channels, **fields).photograph(path)
    row = np.asarray(image)[0].tolist()
    return row if channels == 1 else [tuple(pixel) for pixel in row]


def test_what_goes_in_and_what_comes_out(put):
    wrong = []
    for mode, kind, goes_in, content, expected in TABLE:
        colours = [(level,) * 3 if isinstance(level, int) else level for level in expected]
        found = pixels(put(content))
        if found != colours:
            wrong.append((mode, kind, goes_in, found, colours))
    for mode, kind, goes_in, content, expected in LOSSY:
        found = np.asarray(reading().photograph(put(content)), dtype=int)
        if abs(found - expected).max() > 3:
            wrong.append((mode, kind, goes_in, found[0, 0], expected))
    assert wrong == []


def test_a_grey_file_stays_grey(put):
    for mode, kind, _, content, expected in TABLE:
        path = put(content)
        is_grey = isinstance(expected[0], int) and kind != "WEBP" and mode != "grey and alpha, 16 bits"  # kept as RGB
        assert look(path).is_grey == is_grey, (mode, kind)
        if is_grey:
            assert pixels(path, 1) == expected, (mode, kind)
    luma = [round(0.299 * r + 0.587 * g + 0.114 * b) for r, g, b in COLOURS]
    assert pixels(put(saved(of("RGB", *COLOURS), "PNG")), 1) == luma


def test_the_background_shows_through(put):
    for kind in ("PNG", "TIFF"):
        assert pixels(put(saved(of("RGBA", *HIDDEN), kind)), background=(0, 0, 255)) == SEEN_ON_BLUE
    assert pixels(put(saved(of("LA", *GREY_ALPHA), "PNG")), 1, background=(0, 0, 0)) == [0, 20, 100]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (saved(grey([0, 255], np.float32), "TIFF"), "from 0 to 255 (mode F)"),
        (saved(grey([-0.1, 1], np.float32), "TIFF"), "from -0.1 to 1 (mode F)"),
        (saved(grey([0, np.nan], np.float32), "TIFF"), "from nan to nan (mode F)"),
        (saved(grey([0, 65_536], np.int32), "TIFF"), "from 0 to 65536 (mode I)"),
        (saved(grey([-1, 5], np.int32), "TIFF"), "from -1 to 5 (mode I)"),
        (tiff(32, np.array([0, 2**31], "<u4").tobytes(), 2), "from -2.14748e+09 to 0 (mode I)"),
    ],
)
def test_levels_whose_range_is_not_known_are_refused_by_name(put, content, says):
    with pytest.raises(InvalidInput) as error:
        pixels(put(content))
    assert f"image has grey levels {says}; floats must lie in 0 to 1, integers in 0 to 65535. Save" in str(error.value)


UPRIGHT = np.repeat(np.repeat([[20, 90, 160], [230, 60, 120]], 16, 0), 16, 1).astype(np.uint8)  # 48 wide, 32 high
STORED = {  # by the orientation that turns it upright again
    1: UPRIGHT, 2: UPRIGHT[:, ::-1], 3: UPRIGHT[::-1, ::-1], 4: UPRIGHT[::-1],
    5: UPRIGHT.T, 6: UPRIGHT.T[::-1], 7: UPRIGHT.T[::-1, ::-1], 8: UPRIGHT.T[:, ::-1],
}  # fmt: skip
TURNED = {
    "JPEG": ("L", "RGB", "CMYK"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I;16B", "I", "F"),
    "WEBP": ("RGB", "RGBA"),
}


def in_mode(levels, mode):
    match mode:
        case "I;16" | "I;16B" | "I":
            return Image.fromarray(levels.astype({"I;16": "<u2", "I;16B": ">u2", "I": "<i4"}[mode]) * 257)
        case "F":
            return Image.fromarray(levels.astype(np.float32) / 255)
        case "1":
            return Image.fromarray(levels > 127)
        case "CMYK":
            return Image.fromarray(np.stack([255 - levels] * 3 + [0 * levels], -1), "CMYK")
    return Image.fromarray(np.ascontiguousarray(levels)).convert(mode)


@pytest.mark.parametrize("kind", TURNED)
def test_photographs_are_turned_upright(put, kind):
    for mode in TURNED[kind]:
        expected = (UPRIGHT > 127) * 255 if mode == "1" else UPRIGHT
        for orientation, levels in STORED.items():
            exif = Image.Exif()
            exif[0x0112] = orientation
            options = {"PNG": {}, "TIFF": {}, "JPEG": {"quality": 100}, "WEBP": {"quality": 100}}[kind]
            path = put(saved(in_mode(levels, mode), kind, exif=exif, **options))
            found = np.asarray(reading(1).photograph(path), dtype=int)
            assert found.shape == UPRIGHT.shape, (mode, orientation)
            assert abs(found - expected).max() <= (0 if kind in ("PNG", "TIFF") else 4), (mode, orientation)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # what is imported first is silenced first; pytest comes later
def test_metadata_that_cannot_be_read_does_no_harm(put):
    for exif in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        assert np.asarray(reading(1).photograph(put(saved(Image.new("L", (16, 16), 9), "JPEG", exif=exif)))).max() == 9


def test_the_first_frame_or_page_is_read_and_that_there_are_more_is_known(put):
    red, blue = (Image.new("RGB", (16, 16), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    for kind in ("GIF", "PNG", "TIFF", "WEBP", "MPO", "AVIF"):
        if kind not in Image.SAVE_ALL:  # this Pillow cannot write it
            continue
        path = put(saved(red, kind, save_all=True, append_images=[blue]))
        found = np.asarray(reading().photograph(path), dtype=int)
        assert abs(found - (255, 0, 0)).max() <= 3, kind
        assert look(path).has_more, kind
        assert not look(put(saved(red, "JPEG" if kind == "MPO" else kind))).has_more, kind


def test_a_header_says_what_is_stored(put):
    header = look(put(saved(in_mode(UPRIGHT, "I;16"), "PNG")))
    assert (header.mode, header.wide, header.high, header.is_grey) == ("I;16", 48, 32, True)


RAMP = np.tile(np.arange(200, dtype=np.uint8), (100, 1))  # 200 wide, 100 high, each column its own level


def test_oblong_photographs_become_square_as_asked(put):
    path = put(saved(Image.fromarray(RAMP), "PNG"))
    crop, pad, squash = (reading(1, side=20, fit=fit)(path)[0].astype(int) for fit in ("crop", "pad", "squash"))
    # a pixel is 5 columns of the middle 100; 10 columns, with 5 rows above and below of background; 10 columns
    assert np.array_equal(crop[:, 1:-1], np.tile(52 + 5 * np.arange(1, 19), (20, 1)))
    assert abs(pad[5:15, 1:-1] - (4.5 + 10 * np.arange(1, 19))).max() <= 1
    assert (np.delete(pad, range(5, 15), 0) == 255).all()
    assert abs(squash[:, 1:-1] - (4.5 + 10 * np.arange(1, 19))).max() <= 1
    sliver = reading(1, side=8, fit="pad")(put(saved(Image.new("L", (2000, 10)), "PNG"), "sliver"))[0]
    assert sorted(sliver.min(1).tolist()) == [0] + [255] * 7
    beside = reading(3, side=20, fit="pad", background=(0, 90, 200))(path)
    assert beside[:, 0, 10].tolist() == [0, 90, 200]
    tall = put(saved(Image.fromarray(np.ascontiguousarray(RAMP.T)), "PNG"), "tall")
    assert np.array_equal(reading(1, side=20)(tall)[0].T, crop)
    share = reading(1, side=56, share=7 / 8)(path)[0].astype(int)
    assert (share[0, 0], share[0, -1]) == (pytest.approx(56, abs=2), pytest.approx(144, abs=2))


@pytest.fixture
def folder(tmp_path):
    """Two classes of grey photographs, 12 wide and 8 high, of which one has 16 bits and one an alpha channel."""
    for label, name in enumerate(("cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(8):
            level = np.full((8, 12), 100 * label + number)
            Image.fromarray(level.astype(np.uint8)).save(tmp_path / "photos" / name / f"{number}.png")
    Image.fromarray(np.full((8, 12), 7 * 257, np.uint16)).save(tmp_path / "photos" / "cat" / "7.png")
    Image.new("LA", (12, 8), (106, 255)).save(tmp_path / "photos" / "dog" / "6.png")
    return tmp_path / "photos"


def spec(root, **fields):
    return DataSpec(source=f"imagefolder:{root}", image_size=8, **fields)


def test_a_folder_of_grey_files_has_one_channel(folder):
    data = load(spec(folder), phase="confirm")
    assert data.facts.channels == 1
    images = np.concatenate([split.images.numpy() for split in (data.train, data.validation, data.test)])
    assert images.shape == (16, 1, 8, 8)
    assert sorted(images[:, 0, 0, 0].tolist()) == [*range(8), *range(100, 108)]
    assert load(spec(folder, channels=3)).train.images.shape[1] == 3
    assert resolve(spec(folder, background=(0, 0, 255)))[1].channels == 3
    Image.new("RGB", (12, 8)).save(folder / "cat" / "8.png")
    assert facts(f"imagefolder:{folder}", image_size=8).channels == 3
    assert load(spec(folder, channels=1)).train.images.shape[1] == 1


def test_what_decides_the_pixels_decides_what_is_kept(folder, cache):
    kinds = [{}, {"fit": "pad"}, {"fit": "squash"}, {"fit": "pad", "background": (0, 0, 0)}, {"channels": 3}]
    for number, fields in enumerate(kinds, 1):
        first, again = (load(spec(folder, **fields)).train.images for _ in range(2))
        assert first.equal(again)
        assert len(list((cache / "decoded").iterdir())) == number


@pytest.mark.parametrize("fields", [{"fit": "pad"}, {"background": (0, 0, 0)}, {"channels": 1}, {"channels": 3}])
def test_named_sources_have_no_photographs_to_read(fields):
    with pytest.raises(InvalidInput, match=r"data\.channels say how photographs are read; digits has none"):
        resolve(DataSpec(source="digits", **fields))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"background": (0, 0)}, "data.background is (0, 0); it must be three levels of 0 to 255."),
        ({"background": (0, 0, 256)}, "data.background is (0, 0, 256); it must be three levels"),
        ({"channels": 2}, "data.channels is 2; it must be one of 1, 3, None."),
        ({"fit": "stretch"}, "data.fit is 'stretch' (str); it must be one of 'squash', 'crop', 'pad'."),
    ],
)
def test_impossible_readings_are_refused(fields, message):
    with pytest.raises(InvalidInput) as error:
        DataSpec(source="imagefolder:photos", **fields)
    assert message in str(error.value)


if __name__ == "__main__":  # prints the table, as Markdown
    print("| mode | format | goes in | comes out |\n|---|---|---|---|")
    for row in (*TABLE, *LOSSY):
        print(f"| {row[0]} | {row[1]} | {row[2]} | {str(row[4]).strip('[]')} |")
    sys.exit(not FORMATS)
