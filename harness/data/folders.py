"""Users' own images: `PATH/train/<class>/**` with `PATH/test/<class>/**`, or `PATH/<class>/**`, split here."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from harness.data.cache import cache_folder, sha256, write_whole
from harness.data.listing import LAYOUT, SUFFIXES, Files, Walk, match_classes
from harness.data.photographs import READING, Header, Reading, decoders, look
from harness.data.seeds import derive
from harness.data.subsets import Ints, held_out, stratified
from harness.records.data_facts import NO_DECODER, Skipped
from harness.spec import IMAGENET, DataSpec, InvalidInput, SourceFacts
from harness.spec.errors import require
from harness.spec.plural import counted

TEST_SHARE = 5
"""One image in so many is tested on, where the folder has no test part of its own."""


class SizeNeeded(InvalidInput):
    """The images of a folder have no size in common, so that one must be chosen."""


@dataclass(frozen=True)
class ImageFile:
    """What is known of a file without decoding it."""

    sha256: str
    header: Header


@dataclass(frozen=True)
class Listing:
    """The image files of a folder, in sorted order."""

    root: Path
    classes: tuple[str, ...]
    train: Files
    """With a folder that has no test part, all its images."""
    test: Files | None
    """None where the test part is to be split off here."""
    validation: Files | None = None
    """None where it is to be held out of the training part."""
    folders: Mapping[str, str] = field(default_factory=dict)
    """Names of the folders of the parts `train`, `validation` and `test`; none where the root holds the classes."""
    skipped: tuple[Skipped, ...] = ()
    outside: int = 0
    """Images that links out of the folder lead to."""

    @property
    def files(self) -> Files:
        return self.train + (self.validation or ()) + (self.test or ())

    @property
    def labels(self) -> Ints:
        """Classes of `files`: int64 (N,)."""
        return np.array([label for _, label in self.files], dtype=np.int64)

    def test_images(self) -> int:
        """Size of the test part: the folder's own, or a fifth and at least one per class."""
        if self.test is not None:
            return len(self.test)
        return max(len(self.classes), round(len(self.train) / TEST_SHARE))

    def facts(self, image_size: int | None, channels: int | None = None) -> SourceFacts:
        """Shape and sizes; what is None is taken from the images, whose headers are then all known."""
        train = len(self.train) - (self.test_images() if self.test is None else 0)
        held_out = max(len(self.classes), round(train / 10))
        if image_size is None or channels is None:
            headers = [file.header for file in self.looked_at()]
            image_size = image_size or self._side(headers)
            channels = channels or (1 if all(header.is_grey for header in headers) else 3)
        return SourceFacts(
            image_size=image_size,
            channels=channels,
            classes=len(self.classes),
            train_images=train,
            test_images=self.test_images(),
            validation_images=held_out if self.validation is None else len(self.validation),
            own_validation=self.validation is not None,
        )

    def _side(self, headers: Sequence[Header]) -> int:
        sizes: dict[tuple[int, int], str] = {}
        for (name, _), header in zip(self.files, headers, strict=True):
            sizes.setdefault(header.size, name)
        first, *others = sizes
        if others:
            raise SizeNeeded(
                f"Images of imagefolder:{self.root} differ in size: {sizes[first]} is {first[0]}x{first[1]} pixels, "
                f"{sizes[others[0]]} {others[0][0]}x{others[0][1]}. Set data.image_size, the side that all are resized "
                "to, e.g. data.image_size=32."
            )
        if first[0] != first[1]:
            raise SizeNeeded(
                f"Images of imagefolder:{self.root} are {first[0]}x{first[1]} pixels, not square. Set data.image_size, "
                f"the side that all are resized to, e.g. data.image_size={min(first)}."
            )
        return first[0]

    def positions(self, spec: DataSpec) -> dict[str, Ints]:
        """Positions in `files` of the images of each part, ascending, for a resolved specification."""
        assert spec.validation_size is not None
        labels, every = self.labels, np.arange(len(self.files))
        train, rest = every[: len(self.train)], every[len(self.train) :]
        if self.test is None:
            seed = derive(spec.split_seed, "test")
            test = train[stratified(labels[train], self.test_images(), seed=seed, leave=2)]
            train = np.setdiff1d(train, test)
        else:
            test = rest[len(self.validation or ()) :]
        if self.validation is None:
            validation = train[held_out(labels[train], spec.validation_size, split_seed=spec.split_seed)]
        else:
            own, seed = rest[: len(self.validation)], derive(spec.split_seed, "validation")
            validation = own[stratified(labels[own], spec.validation_size, seed=seed)]
        return {"train": np.setdiff1d(train, validation), "validation": validation, "test": test}

    def content_hash(self) -> str:
        """SHA-256 over the classes in order, and the path and SHA-256 of every file."""
        files = zip(self.files, self.looked_at(), strict=True)
        return _digest([("classes", json.dumps(self.classes)), *((name, file.sha256) for (name, _), file in files)])

    def looked_at(self) -> tuple[ImageFile, ...]:
        """What is known of each of `files`; those are opened that have changed since they last were."""
        known = _read_index(self.root)
        index = {name: _entry(self.root / name, known.get(name)) for name, _ in self.files}
        if index != known:
            text = json.dumps(index)
            write_whole(*_index_place(self.root), lambda path: path.write_text(text, encoding="utf-8"))
        return tuple(
            ImageFile(sha, Header(mode, (wide, high), is_grey, has_more))
            for *_, sha, mode, wide, high, is_grey, has_more in index.values()
        )


def scan(path: str) -> Listing:
    """List a folder of images and check its layout; opens no image. Raises `InvalidInput` with the remedy."""
    root = Path(path).expanduser()
    require(root.is_dir(), f"There is no folder {root} (data.source=imagefolder:{path}). {LAYOUT}")
    walk = Walk(root)
    folders = walk.parts()
    if not folders:
        classes, files = _all_classes(walk, root)
        _check_counts(root, classes, files, 3, "one each to train, to validate and to test on")
        return Listing(root, classes, files, None, skipped=walk.skipped, outside=walk.outside)
    if "train" not in folders or "test" not in folders:
        raise InvalidInput(_lacks_part(root, path, folders))
    least, why = (1, "one to train on") if "validation" in folders else (2, "one each to train and to validate on")
    return _parted(walk, folders, least, why)


def _lacks_part(root: Path, path: str, folders: Mapping[str, str]) -> str:
    """Says which part is missing, and what to do."""
    lacking = "test" if "train" in folders else "train"
    has = " and a folder ".join(folders.values())
    remedy = f"{LAYOUT} A class of the name of a part must be called otherwise."
    if set(folders) == {"train", "validation"}:
        remedy = (
            f"To test on {folders['validation']}, rename it to test (validation is then held out of "
            f"{folders['train']}), or set data.source=imagenet:{path}, which tests on it and reads images while it "
            "trains; or put images that are to be tested on into a folder test."
        )
    return f"{root} has a folder {has} but no folder {lacking}. {remedy}"


def _parted(walk: Walk, folders: Mapping[str, str], least: int, why: str) -> Listing:
    """A folder with parts of its own; classes are those of the training part."""
    root = walk.root
    classes, train = _all_classes(walk, root / folders["train"])
    _check_counts(root, classes, train, least, why)
    parts: dict[str, Files] = {}
    for part in ("validation", "test"):
        if part in folders:
            names = walk.classes(root / folders[part])
            match_classes(root, folders["train"], classes, folders[part], names)
            parts[part] = tuple(
                (path, classes.index(name)) for name in names for path in walk.images(root / folders[part] / name)
            )
            require(bool(parts[part]), f"{root / folders[part]} holds no image ({_suffixes()}). {LAYOUT}")
    walk.pass_over(folders.values())
    return Listing(root, classes, train, parts["test"], parts.get("validation"), folders, walk.skipped, walk.outside)


def _all_classes(walk: Walk, part: Path) -> tuple[tuple[str, ...], Files]:
    """The class names and the images below `part`; every class has some."""
    classes = walk.classes(part)
    require(len(classes) >= 2, f"{part} has {counted(len(classes), 'class folder')}; it needs at least two. {LAYOUT}")
    files: list[tuple[str, int]] = []
    for label, name in enumerate(classes):
        images = walk.images(part / name)
        if not images:
            here = walk.undecodable(part / name)
            why = f" Passed over: {counted(here, 'file')}, {NO_DECODER}." if here else ""
            raise InvalidInput(
                f"Class folder {part / name} holds no image ({_suffixes()}).{why} Add images to it, or remove it."
            )
        files += [(path, label) for path in images]
    return tuple(classes), tuple(files)


def _suffixes() -> str:
    return ", ".join(sorted(SUFFIXES))


def _check_counts(root: Path, classes: tuple[str, ...], files: Files, least: int, why: str) -> None:
    counts = np.bincount([label for _, label in files], minlength=len(classes))
    rarest = int(counts.argmin())
    require(
        int(counts[rarest]) >= least,
        f"Class {classes[rarest]!r} of {root} has {counted(int(counts[rarest]), 'image')}; a class needs at least "
        f"{least}: {why}.",
    )


def decode(listing: Listing, reading: Reading) -> npt.NDArray[np.uint8]:
    """Every image as `reading` has it: uint8 (N, C, side, side), in the listing's order."""
    images = np.empty((len(listing.files), reading.channels, reading.side, reading.side), dtype=np.uint8)
    with ThreadPoolExecutor(decoders()) as pool:
        for at, pixels in enumerate(pool.map(reading, (listing.root / name for name, _ in listing.files))):
            images[at] = pixels
    return images


def _entry(path: Path, kept: Any) -> list[Any]:
    """Bytes, times of modification and of change in ns, SHA-256 and header; read only where one of the first differs.

    The time of modification can be set by whoever copies a file; the time of change cannot.
    """
    try:
        status = path.stat()
        now = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        if isinstance(kept, list) and len(kept) == _ENTRY and kept[: len(now)] == now:
            return kept
        header = look(path)
        return [*now, sha256(path), header.mode, *header.size, header.is_grey, header.has_more]
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}. Replace or remove it.") from error


_ENTRY = 9
"""Fields of an entry of the index."""


def _index_place(root: Path) -> tuple[Path, str]:
    name = hashlib.sha256(f"{READING} {root.resolve()}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return cache_folder() / "folders", f"{name}.json"


def _read_index(root: Path) -> dict[str, Any]:
    folder, name = _index_place(root)
    try:
        index = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or damaged: the files are hashed again
        return {}
    return index if isinstance(index, dict) else {}


def _digest(entries: Iterable[tuple[str, str]]) -> str:
    digest = hashlib.sha256(f"reading {READING}\n".encode())
    for name, content in entries:
        digest.update(json.dumps([name, content]).encode() + b"\n")
    return digest.hexdigest()


def imagenet_listing(path: str) -> Listing:
    """List an ImageNet-like folder, `train/CLASS/**` and `val/CLASS/**`; too many images to be decoded into memory.

    `val/`, the official validation part, which papers report, is what is tested on. Raises `InvalidInput` where it is
    not such a folder.
    """
    root = Path(path).expanduser()
    walk = Walk(root)
    folders = walk.parts() if root.is_dir() else {}
    for part, name in (("train", "train"), ("validation", "val")):
        require(
            part in folders,
            f"There is no folder {root / name} (data.source=imagenet:{path}). It must hold train/CLASS/*.JPEG and "
            "val/CLASS/*.JPEG.",
        )
    tested = {"train": folders["train"], "test": folders["validation"]}
    return _parted(walk, tested, 2, "one each to train and to validate on")


def imagenet_facts(listing: Listing, channels: int | None = None) -> SourceFacts:
    """At the image size of papers; where `channels` is None, headers are opened up to the first that is not grey."""
    train = len(listing.train)
    if channels is None:
        channels = 1 if all(look(listing.root / name).is_grey for name, _ in listing.files) else 3
    return SourceFacts(
        image_size=IMAGENET.image_size,
        channels=channels,
        classes=len(listing.classes),
        train_images=train,
        test_images=listing.test_images(),
        validation_images=min(IMAGENET.validation_images, max(len(listing.classes), round(train / 10))),
    )


def imagenet_hash(path: str) -> str:
    """SHA-256 over the path and size of every file; without a folder, over the name alone, for plans."""
    if not path:
        return hashlib.sha256(b"imagenet").hexdigest()
    listing = imagenet_listing(path)
    sizes = ((name, str((listing.root / name).stat().st_size)) for name, _ in listing.files)
    return _digest([("classes", json.dumps(listing.classes)), *sizes])
