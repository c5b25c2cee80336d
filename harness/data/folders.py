"""Users' own images: `PATH/train/<class>/*` with `PATH/test/<class>/*`, or `PATH/<class>/*`, split here."""

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.cache import cache_folder, sha256, write_whole
from harness.data.photographs import READING, Header, Reading, decoders, look
from harness.spec import IMAGENET, InvalidInput, SourceFacts
from harness.spec.errors import require

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Files that count as images; others (a README, a thumbnail database) are passed over."""

TEST_SHARE = 5
"""One image in so many is tested on, where the folder has no test part of its own."""

LAYOUT = "The folder must hold PATH/train/CLASS/*.png with PATH/test/CLASS/*.png, or PATH/CLASS/*.png."


@dataclass(frozen=True)
class Listing:
    """The image files of a folder, in sorted order."""

    root: Path
    classes: tuple[str, ...]
    train: tuple[tuple[str, int], ...]
    """(path relative to the root, class); with a folder that has no test part, all its images."""
    test: tuple[tuple[str, int], ...] | None
    """None where the test part is to be split off here."""

    @property
    def files(self) -> tuple[tuple[str, int], ...]:
        return self.train + (self.test or ())

    def test_images(self) -> int:
        """Size of the test part: the folder's own, or a fifth and at least one per class."""
        if self.test is not None:
            return len(self.test)
        return max(len(self.classes), round(len(self.train) / TEST_SHARE))

    def facts(self, image_size: int | None, channels: int | None = None) -> SourceFacts:
        """Shape and sizes; what is None is taken from the images, whose headers are then all opened."""
        train = len(self.train) - (self.test_images() if self.test is None else 0)
        if image_size is None or channels is None:
            headers = {name: look(self.root / name) for name, _ in self.files}
            image_size = image_size or self._side(headers)
            channels = channels or (1 if all(header.is_grey for header in headers.values()) else 3)
        return SourceFacts(
            image_size=image_size,
            channels=channels,
            classes=len(self.classes),
            train_images=train,
            test_images=self.test_images(),
            validation_images=max(len(self.classes), round(train / 10)),
        )

    def _side(self, headers: dict[str, Header]) -> int:
        sizes: dict[tuple[int, int], str] = {}
        for name, header in headers.items():
            sizes.setdefault(header.size, name)
        first, *others = sizes
        if others:
            raise InvalidInput(
                f"Images of imagefolder:{self.root} differ in size: {sizes[first]} is {first[0]}x{first[1]} pixels, "
                f"{sizes[others[0]]} {others[0][0]}x{others[0][1]}. Set data.image_size, the side that all are resized "
                "to, e.g. data.image_size=32."
            )
        if first[0] != first[1]:
            raise InvalidInput(
                f"Images of imagefolder:{self.root} are {first[0]}x{first[1]} pixels, not square. Set data.image_size, "
                f"the side that all are resized to, e.g. data.image_size={min(first)}."
            )
        return first[0]

    def content_hash(self) -> str:
        """SHA-256 over the path and SHA-256 of every file, in order."""
        known = _read_index(self.root)
        index: dict[str, tuple[int, int, int, str]] = {}
        for name, _ in self.files:
            try:
                index[name] = _entry(self.root / name, known.get(name))
            except OSError as error:
                raise InvalidInput(
                    f"{self.root / name} cannot be read: {error.strerror}. Replace or remove it."
                ) from error
        if {name: list(entry) for name, entry in index.items()} != known:
            text = json.dumps(index)
            write_whole(*_index_place(self.root), lambda path: path.write_text(text, encoding="utf-8"))
        return _digest((name, entry[-1]) for name, entry in index.items())


def scan(path: str) -> Listing:
    """List a folder of images and check its layout; opens no image. Raises `InvalidInput` with the remedy."""
    root = Path(path).expanduser()
    require(root.is_dir(), f"There is no folder {root} (data.source=imagefolder:{path}). {LAYOUT}")
    has = {part: (root / part).is_dir() for part in ("train", "test")}
    require(
        has["train"] == has["test"],
        f"{root} has a folder {'train' if has['train'] else 'test'} but no folder "
        f"{'test' if has['train'] else 'train'}. {LAYOUT}",
    )
    if not has["train"]:
        classes, files = _list_classes(root, root)
        _check_counts(root, classes, files, 3, "one each to train, to validate and to test on")
        return Listing(root, classes, files, None)
    for part in ("train", "test"):
        require(
            (root / part).resolve().is_relative_to(root.resolve()),
            f"{root / part} is a link that leads out of {root}. Move the folder there in its place.",
        )
    classes, train = _list_classes(root, root / "train")
    tested, test = _list_classes(root, root / "test")
    if tested != classes:
        only = sorted(set(classes) ^ set(tested))
        raise InvalidInput(
            f"{root}: train/ and test/ must have the same classes; only one of them has {', '.join(only[:5])}."
        )
    _check_counts(root, classes, train, 2, "one each to train and to validate on")
    return Listing(root, classes, train, test)


def _list_classes(root: Path, part: Path) -> tuple[tuple[str, ...], tuple[tuple[str, int], ...]]:
    """The class names and the (path relative to root, class) of every image below `part`."""
    folders = sorted(entry.name for entry in os.scandir(part) if entry.is_dir() and not entry.name.startswith("."))
    require(len(folders) >= 2, f"{part} has {len(folders)} class folders; it needs at least two. {LAYOUT}")
    inside = root.resolve()
    files = []
    for label, folder in enumerate(folders):
        names = _images_in(part / folder)
        require(
            bool(names),
            f"Class folder {part / folder} holds no image ({', '.join(sorted(SUFFIXES))}). Add images to it, or "
            "remove it.",
        )
        for name in names:
            path = part / folder / name
            if (path.is_symlink() or (part / folder).is_symlink()) and not path.resolve().is_relative_to(inside):
                raise InvalidInput(f"{path} is a link that leads out of {root}. Copy the file there in its place.")
            files.append((path.relative_to(root).as_posix(), label))
    return tuple(folders), tuple(files)


def _images_in(folder: Path) -> list[str]:
    names = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or Path(entry.name).suffix.lower() not in SUFFIXES or entry.is_dir():
                continue
            if not entry.is_file() and Path(entry.path).exists():  # a pipe, for one: reading it would never end
                raise InvalidInput(f"{entry.path} is not a plain file. Remove it.")
            names.append(entry.name)
    return sorted(names)


def _check_counts(
    root: Path, classes: tuple[str, ...], files: tuple[tuple[str, int], ...], least: int, why: str
) -> None:
    counts = np.bincount([label for _, label in files], minlength=len(classes))
    rarest = int(counts.argmin())
    require(
        int(counts[rarest]) >= least,
        f"Class {classes[rarest]!r} of {root} has {counts[rarest]} images; a class needs at least {least}: {why}.",
    )


def decode(listing: Listing, reading: Reading) -> npt.NDArray[np.uint8]:
    """Every image as `reading` has it: uint8 (N, C, side, side), in the listing's order."""
    images = np.empty((len(listing.files), reading.channels, reading.side, reading.side), dtype=np.uint8)
    with ThreadPoolExecutor(decoders()) as pool:
        for at, pixels in enumerate(pool.map(reading, (listing.root / name for name, _ in listing.files))):
            images[at] = pixels
    return images


def _entry(path: Path, kept: Any) -> tuple[int, int, int, str]:
    """(bytes, times of modification and of change in ns, SHA-256) of a file; read only where one of the first differs.

    The time of modification can be set by whoever copies a file; the time of change cannot.
    """
    status = path.stat()
    now = status.st_size, status.st_mtime_ns, status.st_ctime_ns
    if isinstance(kept, list) and len(kept) == len(now) + 1 and tuple(kept[:-1]) == now:
        return *now, str(kept[-1])
    return *now, sha256(path)


def _index_place(root: Path) -> tuple[Path, str]:
    name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:32]
    return cache_folder() / "folders", f"{name}.json"


def _read_index(root: Path) -> dict[str, Any]:
    folder, name = _index_place(root)
    try:
        index = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or damaged: the files are hashed again
        return {}
    return index if isinstance(index, dict) else {}


def _digest(entries: Iterator[tuple[str, str]]) -> str:
    digest = hashlib.sha256(f"reading {READING}\n".encode())
    for name, content in entries:
        digest.update(json.dumps([name, content]).encode() + b"\n")
    return digest.hexdigest()


@dataclass(frozen=True)
class ImageNet:
    """The files of an ImageNet-like folder: `train/CLASS/*`, `val/CLASS/*`; too many to be decoded into memory."""

    root: Path
    train: tuple[tuple[str, int], ...]
    test: tuple[tuple[str, int], ...]
    """The files of `val/`, the official validation part, which papers report."""
    classes: int

    def facts(self, channels: int | None = None) -> SourceFacts:
        """Shape and sizes; where `channels` is None, headers are opened up to the first image that is not grey."""
        if channels is None:
            channels = 1 if all(look(self.root / name).is_grey for name, _ in self.train + self.test) else 3
        return SourceFacts(
            image_size=IMAGENET.image_size,
            channels=channels,
            classes=self.classes,
            train_images=len(self.train),
            test_images=len(self.test),
            validation_images=min(IMAGENET.validation_images, max(self.classes, round(len(self.train) / 10))),
        )


def imagenet_listing(path: str) -> ImageNet:
    """List an ImageNet-like folder. Raises `InvalidInput` where it is not one."""
    root = Path(path).expanduser()
    for part in ("train", "val"):
        require(
            (root / part).is_dir(),
            f"There is no folder {root / part} (data.source=imagenet:{path}). It must hold train/CLASS/*.JPEG and "
            "val/CLASS/*.JPEG.",
        )
    classes, train = _list_classes(root, root / "train")
    tested, test = _list_classes(root, root / "val")
    require(tested == classes, f"{root}: train/ has {len(classes)} classes and val/ {len(tested)}; they must be equal.")
    _check_counts(root, classes, train, 2, "one each to train and to validate on")
    return ImageNet(root, train, test, len(classes))


def imagenet_hash(path: str) -> str:
    """SHA-256 over the path and size of every file; without a folder, over the name alone, for plans."""
    if not path:
        return hashlib.sha256(b"imagenet").hexdigest()
    listing = imagenet_listing(path)
    files = listing.train + listing.test
    return _digest((name, str((listing.root / name).stat().st_size)) for name, _ in files)
