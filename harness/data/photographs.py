"""How a file becomes pixels: the one reading of photographs, for folders, streams and loaded models."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from harness.data.source import refused
from harness.spec import DataSpec
from harness.spec.data import Fit
from harness.spec.errors import require

READING = 2
"""Version of what this file makes of an image; part of a folder's identity. Raise it where other pixels come out."""

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What a file is decoded as, whatever its name. Pillow's other readers, some of which start programs, are not asked."""

MOST_PIXELS = 89_478_485  # the largest image that is decoded: 268 MB as RGB, and where Pillow begins to warn

DEEP_GREYS = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
GREY_MODES = DEEP_GREYS | {"1", "L", "LA"}

# Of odd but harmless metadata. Not by `catch_warnings`, which is not for threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


class Header(NamedTuple):
    """What a file says of its image before it is decoded."""

    mode: str
    wide: int
    high: int  # pixels, as they are stored: not yet turned upright
    is_grey: bool  # by its mode, or by a palette of greys; an RGB file is not, whatever its pixels
    has_more: bool  # whether frames or pages follow the first one, which alone is read


@dataclass(frozen=True)
class Encoded:
    """An image file's bytes, where it is not a file of its own."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name

    def open(self, mode: str = "rb") -> io.BytesIO:
        return io.BytesIO(self.content)


Picture = Path | Encoded


def look(path: Picture) -> Header:
    """Open a file's header. Raises `InvalidInput` where it is no image that can be read, or an absurd one."""
    with opened(path) as image:
        is_grey = image.mode in GREY_MODES
        if image.mode == "P":
            colours = np.array(image.getpalette("RGB"), dtype=np.uint8).reshape(-1, 3)
            is_grey = bool((colours == colours[:, :1]).all())
        return Header(image.mode, image.width, image.height, is_grey, bool(getattr(image, "is_animated", False)))


@contextmanager
def opened(path: Picture) -> Iterator[Any]:
    """The image in a file, header read. What Pillow refuses, its limit on decompression too, becomes `InvalidInput`."""
    from PIL import Image

    # A damaged header leads Pillow's readers to whatever error comes next. Given a path, Pillow would map the file into
    # memory, and scramble a TIFF that lies on its side.
    with (
        refused(f"{path} is not an image that can be read", "Replace or remove it."),
        path.open("rb") as file,
        Image.open(file, formats=FORMATS) as image,
    ):
        pixels = image.width * image.height
        require(
            pixels <= MOST_PIXELS,
            f"{path} is too large to be decoded safely: it has {pixels:,} pixels, and {MOST_PIXELS:,} are the limit. "
            "Scale it down, or remove it.",
        )
        yield image


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What decides the pixels that a file becomes."""

    side: int  # of the square, pixels
    channels: int  # 1: grey, by luma where there is colour; 3: RGB
    fit: Fit
    background: tuple[int, ...]
    share: float = 1.0  # the middle part of the square that is taken, in its side

    @classmethod
    def of(cls, data: DataSpec, *, side: int, channels: int) -> Self:
        """As the images of `data` are read, to be evaluated on."""
        share = 7 / 8 if data.kind == "imagenet" else 1.0  # at 224 pixels: resized to 256, the middle 224 taken
        return cls(side=side, channels=channels, fit=data.fit, background=data.background, share=share)

    def __call__(self, path: Picture) -> npt.NDArray[np.uint8]:
        """The image as it is trained or evaluated on: uint8 (C, side, side). Raises `InvalidInput`, naming the file."""
        image = self.photograph(path)
        wide, high = self.frame(image)
        edge, (x, y) = min(wide, high) * self.share / 2, (wide / 2, high / 2)
        return self.part(image, (x - edge, y - edge, x + edge, y + edge))

    def photograph(self, path: Picture) -> Any:
        """The whole first image of a file, upright, as a PIL image of mode `L` or `RGB`."""
        from PIL import Image, ImageOps

        with opened(path) as image:
            image.load()
            with contextlib.suppress(Exception):  # metadata that cannot be read tell of no turn
                ImageOps.exif_transpose(image, in_place=True)
            found = _in_eight_bits(path, image) if image.mode in DEEP_GREYS else image
            if found.has_transparency_data:
                canvas = Image.new("RGBA", found.size, (*self.background, 255))
                canvas.alpha_composite(found.convert("RGBA"))
                found = canvas
            return found.convert("L" if self.channels == 1 else "RGB")

    def frame(self, image: Any) -> tuple[int, int]:
        """Size, in pixels, of what parts of a photograph are taken from: itself, squashed or padded to a square."""
        wide, high = image.size
        edge = {"crop": 0, "squash": min(wide, high), "pad": max(wide, high)}[self.fit]
        return (edge, edge) if edge else (wide, high)

    def part(self, image: Any, box: tuple[float, float, float, float]) -> npt.NDArray[np.uint8]:
        """A part (left, top, right, bottom) of a photograph's frame, resized with antialiasing: (C, side, side)."""
        from PIL import Image

        wide, high = self.frame(image)
        if self.fit == "squash":
            wider, higher = image.width / wide, image.height / high
            box = (box[0] * wider, box[1] * higher, box[2] * wider, box[3] * higher)
        right, down = ((wide - image.width) / 2, (high - image.height) / 2) if self.fit == "pad" else (0, 0)
        left, until, x, across = _overlap(box[0] - right, box[2] - right, image.width, self.side)
        top, bottom, y, along = _overlap(box[1] - down, box[3] - down, image.height, self.side)
        canvas = Image.new("RGB", (self.side, self.side), self.background).convert(image.mode)
        if across and along:
            part = image.resize((across, along), Image.Resampling.BILINEAR, box=(left, top, until, bottom))
            canvas.paste(part, (x, y))
        values = np.asarray(canvas, dtype=np.uint8)
        return values[None] if values.ndim == 2 else values.transpose(2, 0, 1)


def _overlap(low: float, high: float, length: int, side: int) -> tuple[float, float, int, int]:
    """What of an image lies between `low` and `high`: from, to; and on a canvas of `side` pixels: at, so many."""
    first, last = max(low, 0.0), min(high, float(length))
    at, end = (round((place - low) / (high - low) * side) for place in (first, last))
    if last > first and at == end:  # a sliver is seen, too
        at = min(at, side - 1)
        end = at + 1
    return first, last, at, max(0, end - at)


def _in_eight_bits(path: Picture, image: Any) -> Any:
    """Greys of 12, 16 and 32 bits and floats as `L` or `LA`: integers by the range of 12 or 16 bits, floats by 0..1."""
    from PIL import Image

    values, tags = np.asarray(image), getattr(image, "tag_v2", {})
    full = 1 if image.mode == "F" else 4095 if tags.get(258) == (12,) else 65_535  # bits per sample
    low, high = values.min(), values.max()
    require(
        bool(low >= 0 and high <= full),  # false for a NaN, too
        f"{path} has grey levels from {low:g} to {high:g} (mode {image.mode}); floats must lie in 0 to 1, integers in "
        "0 to 65535. Save it with 8 or 16 bits, or scale its floats to 0 to 1.",
    )
    levels = full - values if tags.get(262) == 0 else values  # white is zero
    grey = Image.fromarray(np.rint(levels * (255 / full)).astype(np.uint8))
    if "transparency" in image.info:
        grey.putalpha(Image.fromarray((values != image.info["transparency"]).astype(np.uint8) * np.uint8(255)))
    return grey
