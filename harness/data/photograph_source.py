"""Image files with labels, from wherever: listed at first, decoded into memory where they fit, else streamed."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from harness.data.cache import Unkept, cache_folder, has_room, stored, write_whole
from harness.data.duplicates import Place
from harness.data.photographs import READING, Header, Picture, Reading, decoders, look, picture_hash
from harness.data.source import Phase, SizeNeeded, check_memory, memory_limit, memory_needed
from harness.data.subsets import Ints, parted
from harness.records.data_facts import PARTS, ClassCount, Skipped, shown
from harness.spec import DataSpec, InvalidInput, SourceFacts
from harness.spec.errors import require
from harness.spec.plural import counted

if TYPE_CHECKING:
    import torch

    from harness.data.stream import AnySplit

log = logging.getLogger(__name__)

TEST_SHARE = 5
"""One image in so many is tested on, where a source has no test part of its own."""

BLOCK = 256
"""Images that are decoded, and kept, at a time."""

Files = tuple[tuple[str, int], ...]
"""(name, class) of every image, in order; a name is a path relative to the root."""


@dataclass(frozen=True)
class ImageFile:
    """What is known of a file without decoding it."""

    sha256: str
    header: Header

    @classmethod
    def look(cls, picture: Picture) -> list[Any]:
        """What `of` makes one of: read from the file."""
        header = look(picture)
        return [picture_hash(picture), header.mode, *header.size, header.is_grey, header.has_more]

    @classmethod
    def of(cls, entry: Sequence[Any]) -> Self:
        """From an entry of an index."""
        sha256, mode, wide, high, is_grey, has_more = entry
        return cls(sha256, Header(mode, (wide, high), is_grey, has_more))


@dataclass(frozen=True, kw_only=True)
class PhotographSource:
    """Images that are files below a folder."""

    name: str
    """As a user writes it: `imagefolder:PATH`."""
    root: Path
    classes: tuple[str, ...]
    train: Files
    """Where there is no test part, all images."""
    validation: Files | None = None
    """None where it is to be held out of the training part."""
    test: Files | None = None
    """None where the test part is to be split off here."""
    folders: Mapping[str, str] = field(default_factory=dict)
    """Names of the parts `train`, `validation` and `test` in the source; none where it has no parts."""
    skipped: tuple[Skipped, ...] = ()
    outside: int = 0
    """Images that links out of the folder lead to."""

    photographs: ClassVar[bool] = True
    crops: ClassVar[bool] = False
    """Whether training sees random resized crops; the images are then always decoded while it trains."""

    @cached_property
    def files(self) -> Files:
        """All of them, in the order that positions count through."""
        return self.train + (self.validation or ()) + (self.test or ())

    @cached_property
    def labels(self) -> Ints:
        """Classes of `files`: int64 (N,)."""
        return np.array([label for _, label in self.files], dtype=np.int64)

    def pictures(self, positions: Iterable[int]) -> "Sequence[Picture]":
        """What the images at `positions` are decoded from."""
        return [self.root / self.files[at][0] for at in positions]

    def test_images(self) -> int:
        """Size of the test part: the source's own, or a fifth and at least one per class."""
        if self.test is not None:
            return len(self.test)
        return max(len(self.classes), round(len(self.train) / TEST_SHARE))

    def facts(self, image_size: int | None = None, channels: int | None = None) -> SourceFacts:
        """Shape and sizes; what is None is taken from the images, whose headers are then all known."""
        train = len(self.train) - (self.test_images() if self.test is None else 0)
        held_out = max(len(self.classes), round(train / 10))
        if image_size is None or channels is None:
            headers = [file.header for file in self.looked_at]
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
        wide, high = first
        if not others and wide == high:
            return wide
        found = f"are {wide}x{high} pixels, not square"
        if others:
            other = "{}x{}".format(*others[0])
            found = f"differ in size: {sizes[first]} is {wide}x{high} pixels, {sizes[others[0]]} {other}"
        raise SizeNeeded(
            f"Images of {self.name} {found}. Set data.image_size, the side that all are resized to, e.g. "
            f"data.image_size={32 if others else min(first)}."
        )

    def positions(self, spec: DataSpec) -> dict[str, Ints]:
        """Positions in `files` of the images of each part, ascending, for a resolved specification."""
        ends = np.cumsum([len(self.train), len(self.validation or ())])
        labels = dict(zip(("train", "validation", "test"), np.split(self.labels, ends), strict=True))
        own = {"train": True, "validation": self.validation is not None, "test": self.test is not None}
        return parted({part: labels[part] for part in labels if own[part]}, spec, tested=self.test_images())

    def content_hash(self) -> str:
        """SHA-256 over the classes in order, and the path and SHA-256 of every file."""
        files = zip(self.files, self.looked_at, strict=True)
        return self._digest((self._entry_name(at), file.sha256) for at, (_, file) in enumerate(files))

    def _entry_name(self, at: int) -> str:
        """What stands for an image's name and class in the identity: a folder's path tells the class, too."""
        return self.files[at][0]

    def _digest(self, entries: Iterable[tuple[str, str]]) -> str:
        digest = hashlib.sha256(f"reading {READING}\n".encode())
        for name, content in (("classes", json.dumps(self.classes)), *entries):
            digest.update(json.dumps([name, content]).encode() + b"\n")
        return digest.hexdigest()

    @cached_property
    def looked_at(self) -> tuple[ImageFile, ...]:
        """What is known of each of `files`; those are opened that have changed since they last were."""
        place = index_place(f"{self.name} {self.root.resolve()}")
        known = read_index(place)
        index = {name: _entry(self.root / name, known.get(name)) for name, _ in self.files}
        if index != known:
            write_index(place, index)
        return tuple(ImageFile.of(entry[-_OF_IMAGE:]) for entry in index.values())

    def headers(self) -> list[Header]:
        """Of all images; a source of too many opens a sample."""
        return [file.header for file in self.looked_at]

    def read(
        self, spec: DataSpec, facts: SourceFacts, *, device: "torch.device", phase: Phase
    ) -> "Mapping[str, AnySplit]":
        """See `Source`: in memory where all images fit into half of it, else streamed, with the same pixels."""
        parts = self.positions(spec)
        if phase == "tune":
            del parts["test"]
        reading = Reading.of(spec, side=facts.image_size, channels=facts.channels)
        if self.crops or memory_needed(facts) > memory_limit():
            batch = min(1000, len(self.files)) * reading.channels * reading.side**2
            check_memory(spec.source, facts, batch)
            return {part: self._streamed(part, chosen, reading, device) for part, chosen in parts.items()}
        from harness.data.splits import split

        every = range(len(self.files))
        images = stored(
            f"folder {READING} {self.content_hash()} {reading}",
            (len(every), reading.channels, reading.side, reading.side),
            lambda: self.decoded(every, reading),
        )
        return {part: split(images[chosen], self.labels[chosen], device) for part, chosen in parts.items()}

    def _streamed(self, part: str, chosen: Ints, reading: Reading, device: "torch.device") -> "AnySplit":
        import torch

        from harness.data.stream import StreamedSplit

        crops = self.crops and part == "train"
        return StreamedSplit(
            source=self,
            positions=chosen,
            labels=torch.from_numpy(self.labels[chosen]),
            reading=reading,
            crops=crops,
            threads=min(decoders(), torch.get_num_threads()),  # of one training, where several run side by side
            device=device,
            pixels=None if crops else self._mapped(part, chosen, reading),
        )

    def _mapped(self, part: str, chosen: Ints, reading: Reading) -> npt.NDArray[np.uint8] | None:
        """The images at `chosen`, decoded once and kept on the disk; None where it has no room for them."""
        shape = len(chosen), reading.channels, reading.side, reading.side
        size = int(np.prod(shape, dtype=np.int64))
        what = f"{counted(len(chosen), f'{part} image')} of {self.name}, {size / 1e9:.1f} GB"

        def blocks() -> Iterator[npt.NDArray[np.uint8]]:
            if not has_room(size):
                raise Unkept(f"they would take more than half of what is free in {cache_folder()}")
            log.info("Decoding %s, into %s", what, cache_folder())
            return self.decoded(chosen.tolist(), reading)

        try:
            return stored(f"streamed {READING} {self.stamp(chosen)} {reading}", shape, blocks, mapped=True)
        except Unkept as error:
            log.warning("%s, are decoded in each pass, not kept: %s", what, error)
            return None

    def stamp(self, positions: Ints) -> str:
        """Changes where one of the files at `positions` does; reads none."""
        digest = hashlib.sha256()
        for picture in self.pictures(positions.tolist()):
            assert isinstance(picture, Path)
            status = picture.stat()
            digest.update(f"{picture} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode())
        return digest.hexdigest()

    def decoded(self, positions: Sequence[int], reading: Reading) -> Iterator[npt.NDArray[np.uint8]]:
        """The images at `positions` as `reading` has them, in blocks (n, C, side, side)."""
        with ThreadPoolExecutor(decoders()) as pool:
            for start in range(0, len(positions), BLOCK):
                yield np.stack(list(pool.map(reading, self.pictures(positions[start : start + BLOCK]))))

    def outline(self, spec: DataSpec) -> Mapping[str, Any]:
        headers, labels = self.headers(), {part: self.labels[chosen] for part, chosen in self.positions(spec).items()}
        sizes = Counter("{}x{}".format(*header.size) for header in headers)
        return {
            "origins": self._origins(spec),
            "classes": class_counts([shown(name) for name in self.classes], labels),
            "outside": self.outside,
            "skipped": self.skipped,
            "sizes": dict(sizes.most_common(5)),
            "distinct_sizes": len(sizes),
            "modes": dict(Counter(header.mode for header in headers).most_common()),
            "looked_at": len(headers) if len(headers) < len(self.files) else None,
            "several_frames": sum(header.has_more for header in headers),
        }

    def _origins(self, spec: DataSpec) -> dict[str, str]:
        if not self.folders:
            return {"validation": "held out", "test": "held out"}
        found = {"validation": f"held out of {self.folders['train']}"} | dict(self.folders)
        if self.validation is not None and len(self.validation) != spec.validation_size:
            found["validation"] += f", {len(self.validation):,} in all"
        return found

    def places(self, spec: DataSpec, labels: Mapping[str, Ints]) -> list[Place]:
        positions, files = self.positions(spec), self.files
        return [Place(part, files[at][1], files[at][0]) for part in PARTS for at in positions[part]]


def class_counts(names: Sequence[str], labels: Mapping[str, Ints]) -> tuple[ClassCount, ...]:
    """Images of each class in each part, from the labels of the parts."""
    counts = [np.bincount(labels[part], minlength=len(names)).tolist() for part in PARTS]
    rows = zip(names, *counts, strict=True)
    return tuple(ClassCount(name=name, train=train, validation=held, test=test) for name, train, held, test in rows)


def check_counts(what: str, classes: Sequence[str], files: Files, *, parts: int) -> None:
    """Refuse a class that cannot be trained on, validated on and tested on, given how many parts the source has."""
    counts = np.bincount([label for _, label in files], minlength=len(classes))
    rarest = int(counts.argmin())
    why = ("one each to train, to validate and to test on", "one each to train and to validate on", "one to train on")
    require(
        int(counts[rarest]) >= 4 - parts,
        f"Class {classes[rarest]!r} of {what} has {counted(int(counts[rarest]), 'image')}; a class needs at least "
        f"{4 - parts}: {why[parts - 1]}.",
    )


def _entry(path: Path, kept: Any) -> list[Any]:
    """Bytes, times of modification and of change in ns, SHA-256 and header; read only where one of the first differs.

    The time of modification can be set by whoever copies a file; the time of change cannot.
    """
    try:
        status = path.stat()
        now = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        if isinstance(kept, list) and len(kept) == len(now) + _OF_IMAGE and kept[: len(now)] == now:
            return kept
        return [*now, *ImageFile.look(path)]
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}. Replace or remove it.") from error


_OF_IMAGE = 6
"""Fields of an entry of an index that tell of the image."""


def index_place(source: str) -> Path:
    """Where what is known of the files of a source is kept."""
    name = hashlib.sha256(f"{READING} {source}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return cache_folder() / "folders" / f"{name}.json"


def read_index(place: Path) -> dict[str, Any]:
    """An index by file; empty where it is not there yet, or damaged: the files are then hashed again."""
    try:
        index = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return index if isinstance(index, dict) else {}


def write_index(place: Path, index: Mapping[str, Any]) -> None:
    """Keep an index."""
    write_whole(place.parent, place.name, lambda path: path.write_text(json.dumps(index), encoding="utf-8"))
