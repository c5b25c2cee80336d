"""Users' own images: in folders, `imagefolder:PATH` and `imagenet:PATH`, or named in a table, `csv:PATH`."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, ClassVar, NoReturn

from harness.data.array_source import ArraySource
from harness.data.cache import sha256
from harness.data.photograph_source import PhotographSource, Rows, in_order
from harness.data.photographs import Header, look
from harness.data.source import Source, refused
from harness.data.subsets import Ints
from harness.records.data_facts import Skipped, shown
from harness.spec import IMAGENET, InvalidInput, SourceFacts
from harness.spec.errors import require
from harness.spec.formats import counted

SUFFIXES = (".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Files that count as images; others (a README, a thumbnail database) are passed over."""

PARTS = {"train": ("train", "training"), "validation": ("val", "valid", "validation"), "test": ("test", "testing")}
"""What the folder of a part is called, in capitals or not."""

LAYOUTS = {
    "imagefolder": "It must hold PATH/train/CLASS/*.png with PATH/test/CLASS/*.png, or PATH/CLASS/*.png.",
    "imagenet": "It must hold PATH/train/CLASS/*.JPEG with PATH/val/CLASS/*.JPEG.",
}


def open_source(kind: str, path: str) -> Source:
    """List the images and check their layout; opens none. Raises `InvalidInput` with the remedy."""
    place = Path(path).expanduser()
    if kind == "csv":
        return _table(place)
    if not path:
        return Unnamed()
    require(place.is_dir(), f"There is no folder {place} (data.source={kind}:{path}). {LAYOUTS[kind]}")
    walk = Walk(place)
    top = walk.folders(place)
    folders = _parts(place, top)
    if kind == "imagenet":  # tested on the official validation part, as papers are
        folders = {"train": folders.get("train", ""), "test": folders.get("validation", "")}
    lacking = [part for part in ("train", "test") if folders and not folders.get(part)]
    require(
        not lacking,
        f"{place} has the folders {', '.join(map(repr, top))}: none of part {' or '.join(lacking)}. {LAYOUTS[kind]} To "
        f"test on val, rename it to test, or set data.source=imagenet:{path}.",
    )
    for name in set(top) - set(folders.values()) if folders else ():
        walk.pass_over("folders of no part", place / name)
    places = {part: place / folders[part] for part in PARTS if part in folders} or {"train": place}
    classes = {part: walk.folders(folder) if folders else top for part, folder in places.items()}
    what = f"{places['train']} has {counted(len(classes['train']), 'class folder')}"
    require(len(classes["train"]) >= 2, f"{what}; it needs at least two. {LAYOUTS[kind]}")
    rows = {part: walk.rows(folder, classes[part]) for part, folder in places.items()}
    cls = ImageNet if kind == "imagenet" else PhotographSource
    return cls.of(f"{kind}:{place}", place, rows, classes=classes["train"], skipped=walk.skipped())


def _parts(root: Path, folders: Iterable[str]) -> dict[str, str]:
    """The folders of the parts, by the keys of `PARTS`; none in a folder that holds classes."""
    found: dict[str, str] = {}
    for name in folders:
        for part in (part for part, names in PARTS.items() if name.lower() in names):
            other = found.setdefault(part, name)
            require(other == name, f"{root} has two folders of one part: {other!r} and {name!r}. Rename or merge them.")
    return found


class Walk:
    """Lists the folders and images below a root; what it passes over is counted by its reason."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._skipped: defaultdict[str, list[str]] = defaultdict(list)

    def skipped(self) -> tuple[Skipped, ...]:
        found = ((reason, sorted(names)) for reason, names in sorted(self._skipped.items()))
        return tuple(Skipped(reason=why, files=len(names), first=tuple(map(shown, names[:5]))) for why, names in found)

    def pass_over(self, reason: str, path: Path) -> None:
        self._skipped[reason].append(path.relative_to(self.root).as_posix() + "/" * path.is_dir())

    def folders(self, place: Path) -> list[str]:
        """The names of the folders in one, in the order of classes."""
        folders, images = self._entries(place)
        for image in images:
            self.pass_over("images in no class folder", image)
        return in_order(folder.name for folder in folders)

    def rows(self, place: Path, classes: Iterable[str]) -> Rows:
        """Path relative to the root, and class, of the images in the class folders of a part; each has some."""
        found: list[tuple[str, str]] = []
        for name in classes:
            images = self._images(place / name)
            require(bool(images), f"Class folder {place / name} holds no image ({', '.join(SUFFIXES)}).")
            found += [(path, name) for path in images]
        return found

    def _images(self, folder: Path) -> list[str]:
        """The images in a folder and in those below it, sorted; links are followed, to each folder once."""
        found: list[str] = []
        left, seen = [folder], set[Path]()
        while left:
            place = left.pop()
            if place.resolve() in seen:
                self.pass_over("folders that a link leads to again", place)
            else:
                seen.add(place.resolve())
                folders, images = self._entries(place)
                left += folders
                found += [path.relative_to(self.root).as_posix() for path in images]
        return sorted(found)

    def _entries(self, place: Path) -> tuple[list[Path], list[Path]]:
        """The folders and the images in a folder, sorted; whatever else is there is passed over."""
        folders, images = [], []
        try:
            with os.scandir(place) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    path = Path(entry.path)
                    if entry.name.startswith("."):
                        self.pass_over("hidden", path)
                    elif entry.is_dir():
                        folders.append(path)
                    elif not entry.is_file():  # to read a pipe, for one, would never end
                        raise InvalidInput(f"{path} is a link that leads to nothing, or no plain file. Remove it.")
                    elif path.suffix.lower() in SUFFIXES:
                        images.append(path)
                    else:
                        self.pass_over("other endings", path)
        except OSError as error:
            raise InvalidInput(f"{error.filename} cannot be read: {error.strerror}. Mend or remove it.") from error
        return folders, images


class ImageNet(PhotographSource):
    """A folder of so many files that none is read for its identity, and few for its facts; cropped at random."""

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
        """Of a thousand at most, spread evenly."""
        return [look(self.picture(at)) for at in range(0, len(self.files), -(-len(self.files) // 1000))]

    def hashes(self, positions: Ints, most_bytes: int | None) -> list[str] | None:
        if most_bytes is not None and sum(self.stamp(at)[0] for at in positions) > most_bytes:
            return None
        return [sha256(self.picture(at)) for at in positions]


class Unnamed(ArraySource):
    """ImageNet without its folder: it can be planned and costed, not trained on."""

    photographs: ClassVar[bool] = True
    name = "imagenet"

    def facts(self, image_size: int | None = None, channels: int | None = None) -> SourceFacts:
        return replace(IMAGENET, image_size=image_size or IMAGENET.image_size)

    def arrays(self, *_: Any, **__: Any) -> NoReturn:
        raise InvalidInput("data.source is 'imagenet'; to train on it, name its folder: data.source=imagenet:PATH.")

    read = arrays

    def is_held(self, facts: SourceFacts) -> bool:
        return False

    def content_hash(self) -> str:
        return hashlib.sha256(b"imagenet").hexdigest()


def _table(table: Path) -> PhotographSource:
    """A table `path,label` or `path,label,split`; without a column `split` (train, val or test), it is split here."""
    import pandas as pd

    require(table.is_file(), f"There is no file {table} (data.source=csv:{table}).")
    splits = {name: part for part, names in PARTS.items() for name in names}
    parts: dict[str, list[tuple[str, str]]] = {}
    with refused(f"{table} is not a table in CSV and UTF-8"):
        frame = pd.read_csv(table, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        require({"path", "label"} <= set(frame), f"{table}: the first line must be path,label or path,label,split.")
        for number, row in enumerate(frame.to_dict("records"), 2):
            path, label, split = PurePath(row["path"]), row["label"].strip(), row.get("split", "train").strip().lower()
            where = f"{table}, row {number}"
            require(bool(label), f"{where}: the label is empty.")
            require(split in splits, f"{where}: split is {split!r}; it must be train, val or test.")
            require(
                not path.is_absolute() and ".." not in path.parts and (table.parent / path).is_file(),
                f"{where}: there is no file {shown(str(path))!r} in the table's folder.",
            )
            parts.setdefault(splits[split], []).append((path.as_posix(), label))
    for part in ("train", "test") if "split" in frame else ("train",):
        require(part in parts, f"{table} has no row of split {part}. Add some, or leave the column split out.")
    rows = {part: parts[part] for part in PARTS if part in parts}
    return PhotographSource.of(f"csv:{table}", table.parent, rows, is_table=True)
