"""Users' own images in folders: `imagefolder:PATH` and `imagenet:PATH`.

`PATH/train/CLASS/**` with `PATH/test/CLASS/**`, or `PATH/CLASS/**`, split here. An ImageNet-like folder is tested on
its `val/`, the official validation part, which papers report, and cropped at random while it is trained on.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from harness.data.array_source import NamedSource
from harness.data.cache import sha256
from harness.data.photograph_source import PhotographSource, Rows, in_order
from harness.data.photographs import Header, look, openable
from harness.data.source import Part, Source
from harness.records.data_facts import NO_DECODER, Skipped, shown
from harness.spec import IMAGENET, InvalidInput, SourceFacts
from harness.spec.errors import require
from harness.spec.plural import counted

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
"""Files that count as images; others (a README, a thumbnail database) are passed over."""

DECODERS = {".avif": "AVIF", ".heic": "HEIF", ".heif": "HEIF"}
"""Images, too, where this installation of Pillow has the decoder: AVIF from 11.3 on, HEIF with pillow-heif."""

PARTS = {"train": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test", "testing")}
"""What the folder of a part is called, in capitals or not."""

LAYOUTS = {
    "imagefolder": "The folder must hold PATH/train/CLASS/*.png with PATH/test/CLASS/*.png, or PATH/CLASS/*.png.",
    "imagenet": "The folder must hold PATH/train/CLASS/*.JPEG with PATH/val/CLASS/*.JPEG.",
}
HIDDEN, ENDING = "hidden", "other endings"
NO_CLASS, NO_PART, TWICE = "images in no class folder", "folders of no part", "folders that a link leads to again"

MOST_LOOKED_AT = 1000
"""Files of an ImageNet that are opened for their sizes and modes, spread evenly over all."""


def open_source(kind: str, path: str) -> Source:
    """List a folder of images and check its layout; opens no image. Raises `InvalidInput` with the remedy."""
    if not path:
        return Unnamed(kind)
    root, layout = Path(path).expanduser(), LAYOUTS[kind]
    require(root.is_dir(), f"There is no folder {root} (data.source={kind}:{path}). {layout}")
    walk = Walk(root)
    top = walk.folders(root)
    folders = _parts(root, top)
    if kind == "imagenet":
        folders = {"train": folders.get("train", ""), "test": folders.get("validation", "")}
    if kind == "imagenet" or folders:
        lacking = [part for part in ("train", "test") if not folders.get(part)]
        require(
            not lacking,
            f"{root} has the folders {', '.join(map(repr, top))}: none of part {' or '.join(lacking)}. {layout} To "
            f"test on val, rename it to test, or set data.source=imagenet:{path}. A class must be called otherwise.",
        )
        walk.pass_over(NO_PART, (root / name for name in top if name not in folders.values()))
    places = {part: root / folders[part] for part in PARTS if part in folders} or {"train": root}
    classes = {part: walk.folders(place) if folders else in_order(top) for part, place in places.items()}
    train, known = places["train"], classes["train"]
    require(len(known) >= 2, f"{train} has {counted(len(known), 'class folder')}; it needs at least two. {layout}")
    rows = {part: walk.rows(place, classes[part]) for part, place in places.items()}
    named = {part: f"{name}/" for part, name in folders.items()}
    cls = ImageNet if kind == "imagenet" else PhotographSource
    source = f"{kind}:{root}"
    return cls.of(source, root, rows, classes=known, folders=named, skipped=walk.skipped, outside=walk.outside)


def _parts(root: Path, folders: Iterable[str]) -> dict[str, str]:
    """The folders of the parts, by the keys of `PARTS`; none in a folder that holds classes."""
    found: dict[str, str] = {}
    for name in folders:
        for part in (part for part, names in PARTS.items() if name.lower() in names):
            require(
                part not in found,
                f"{root} has two folders of one part: {found.get(part)!r} and {name!r}. Rename or merge them.",
            )
            found[part] = name
    return found


class Walk:
    """Lists the folders and images below a root; what it passes over is counted by its reason."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.outside = 0
        """Images that links out of the folder lead to."""
        self._inside = root.resolve()
        self._skipped: dict[str, list[str]] = {}

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return tuple(
            Skipped(reason=reason, files=len(names), first=tuple(shown(name) for name in sorted(names)[:5]))
            for reason, names in sorted(self._skipped.items())
        )

    def pass_over(self, reason: str, paths: Iterable[Path]) -> None:
        names = [path.relative_to(self.root).as_posix() + "/" * path.is_dir() for path in paths]
        if names:
            self._skipped.setdefault(reason, []).extend(names)

    def folders(self, place: Path) -> list[str]:
        """The names of the folders in one, in the order of classes."""
        folders, images = self._entries(place)
        self.pass_over(NO_CLASS, (Path(image.path) for image in images))
        return in_order(entry.name for entry in folders)

    def rows(self, place: Path, classes: Sequence[str]) -> Rows:
        """Path relative to the root, and class, of the images in the class folders of a part; each has some."""
        found: list[tuple[str, str]] = []
        for name in classes:
            images = self._images(place / name)
            require(
                bool(images),
                f"Class folder {place / name} holds no image ({', '.join(sorted(SUFFIXES))}; .heic with pillow-heif). "
                "Add images to it, or remove it.",
            )
            found += [(path, name) for path in images]
        return found

    def _images(self, folder: Path) -> list[str]:
        """The images in a folder and in those below it, sorted; links are followed, to each folder once."""
        found: list[str] = []
        seen: set[Path] = set()
        left = [folder]
        while left:
            place = left.pop()
            real = place.resolve()
            if real in seen:
                self.pass_over(TWICE, [place])
                continue
            seen.add(real)
            folders, images = self._entries(place)
            left += [Path(entry.path) for entry in folders]
            found += [Path(entry.path).relative_to(self.root).as_posix() for entry in images]
            self.outside += sum(
                not (Path(entry.path).resolve() if entry.is_symlink() else real).is_relative_to(self._inside)
                for entry in images
            )
        return sorted(found)

    def _entries(self, place: Path) -> tuple[list[os.DirEntry[str]], list[os.DirEntry[str]]]:
        """The folders and the images in a folder, sorted; whatever else is there is passed over."""
        folders, images = [], []
        try:
            with os.scandir(place) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    ending = Path(entry.name).suffix.lower()
                    if entry.name.startswith("."):
                        self.pass_over(HIDDEN, [Path(entry.path)])
                    elif entry.is_dir():
                        folders.append(entry)
                    elif not entry.is_file():  # to read a pipe, for one, would never end
                        raise InvalidInput(
                            f"{entry.path} is a link that leads to nothing, or no plain file. Mend or remove it."
                        )
                    elif ending in SUFFIXES or DECODERS.get(ending) in openable():
                        images.append(entry)
                    else:
                        self.pass_over(NO_DECODER if ending in DECODERS else ENDING, [Path(entry.path)])
        except OSError as error:
            raise InvalidInput(f"{error.filename} cannot be read: {error.strerror}. Mend or remove it.") from error
        return folders, images


class ImageNet(PhotographSource):
    """A folder of so many files that none is read for its identity, and few for its facts."""

    crops: ClassVar[bool] = True

    def facts(self, image_size: int | None = None, channels: int | None = None) -> SourceFacts:
        """At the image size of papers; where `channels` is None, headers are opened up to the first in colour."""
        if channels is None:
            channels = 1 if all(look(self.picture(at)).is_grey for at in range(len(self.files))) else 3
        found = super().facts(image_size or IMAGENET.image_size, channels)
        return replace(found, validation_images=min(IMAGENET.validation_images, found.validation_images))

    def content_hash(self) -> str:
        """SHA-256 over the path and size of every file."""
        return self._digest(str(self.stamp(at)[0]) for at in range(len(self.files)))

    def headers(self) -> list[Header]:
        return [look(self.picture(at)) for at in range(0, len(self.files), -(-len(self.files) // MOST_LOOKED_AT))]

    def hashes(self, most_bytes: int | None) -> list[str] | None:
        every = range(len(self.files))
        if most_bytes is not None and sum(self.stamp(at)[0] for at in every) > most_bytes:
            return None
        return [sha256(self.picture(at)) for at in every]


class Unnamed(NamedSource):
    """ImageNet without its folder: it can be planned and costed, not trained on."""

    photographs: ClassVar[bool] = True
    known = IMAGENET

    def arrays(self, part: Part) -> NoReturn:
        raise InvalidInput("data.source is 'imagenet'; to train on it, name its folder: data.source=imagenet:PATH.")

    def read(self, *_: Any, **__: Any) -> NoReturn:
        self.arrays("train")

    def content_hash(self) -> str:
        return hashlib.sha256(b"imagenet").hexdigest()
