"""Image files with labels, from wherever: listed at first, decoded into memory where they fit, else streamed."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from harness.data.cache import Bytes, Unkept, cache_folder, sha256, stored, write_whole
from harness.data.photographs import READING, Header, Picture, Reading, look
from harness.data.source import Phase, SizeNeeded, check_memory, memory_limit, memory_needed, refused
from harness.data.subsets import Ints, parted
from harness.records.data_facts import PARTS, ClassCount, Skipped, shown
from harness.spec import DataSpec, InvalidInput, SourceFacts
from harness.spec.checks import did_you_mean
from harness.spec.errors import require
from harness.spec.formats import counted

if TYPE_CHECKING:
    import torch

    from harness.data.splits import AnySplit, Splits

log = logging.getLogger(__name__)

Rows = Sequence[tuple[str, str]]
"""(name, class) of every image; a name is a path relative to the root."""


@dataclass(frozen=True, eq=False, kw_only=True)
class PhotographSource:
    """Images that are files below a folder; made by `of`."""

    name: str
    root: Path
    classes: tuple[str, ...]
    files: tuple[str, ...]  # paths relative to the root, part after part: in the order that positions count through
    labels: Ints  # classes of `files`: int64 (N,)
    sizes: Mapping[str, int]
    """Images of `train`, and of `validation` and `test` where these are not held out of it; in this order."""
    is_table: bool = False
    """Whether class and part of an image stand elsewhere than in its path; they then count for the identity."""
    skipped: tuple[Skipped, ...] = ()

    photographs: ClassVar[bool] = True
    crops: ClassVar[bool] = False
    """Whether training sees random resized crops; the images are then always decoded while it trains."""

    @classmethod
    def of(cls, name: str, root: Path, parts: Mapping[str, Rows], *, classes: Sequence[str] = (), **more: Any) -> Self:
        """The source, checked. `parts` has `train`, maybe `validation`, maybe `test`; `classes` gives their order."""
        known = list(classes) or in_order({label for _, label in parts["train"]})
        require(len(known) >= 2, f"{name} has {counted(len(known), 'class')}; it needs at least two.")
        for part, rows in parts.items():
            require(bool(rows), f"{name} has no image of part {part}.")
            for label in in_order({label for _, label in rows} - set(known)):
                raise InvalidInput(
                    f"{name}: part {part} has the class {shown(label)!r}, which train does not have. "
                    f"{did_you_mean(label, known)}Rename it, or add training images."
                )
        files = tuple(file for file, _ in chain(*parts.values()))
        ((often, times),) = Counter(files).most_common(1)
        require(times < 2, f"{name} names {shown(often)!r} more than once. Remove all rows of it but one.")
        counts, fewest = Counter(label for _, label in parts["train"]), 4 - len(parts)
        rarest = min(known, key=lambda label: counts[label])
        require(
            counts[rarest] >= fewest,
            f"Class {shown(rarest)!r} of {name} has {counted(counts[rarest], 'image')}; a class needs at least "
            f"{fewest}: one to train on, and one for each part that is held out.",
        )
        number = {label: at for at, label in enumerate(known)}
        labels = np.array([number[label] for _, label in chain(*parts.values())], dtype=np.int64)
        sizes = {part: len(rows) for part, rows in parts.items()}
        return cls(name=name, root=root, classes=tuple(known), files=files, labels=labels, sizes=sizes, **more)

    def picture(self, at: int) -> Picture:
        """What one of `files` is decoded from."""
        return self.root / self.files[at]

    def stamp(self, at: int) -> list[Any]:
        """Changes where one of `files` does; does not read it. The last of the times is not to be set by anybody."""
        status = (self.root / self.files[at]).stat()
        return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]

    @cached_property
    def looked_at(self) -> list[tuple[str, Header]]:
        """SHA-256 and header of each of `files`; only those are opened that have changed since they last were."""
        name = hashlib.sha256(f"{READING} {self.name} {self.root.resolve()}".encode("utf-8", "surrogateescape"))
        place = cache_folder() / "folders" / f"{name.hexdigest()[:32]}.json"
        try:
            known = dict(json.loads(place.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):  # not there yet, or damaged: files are hashed again
            known = {}
        index: dict[str, list[Any]] = {}
        for at, file in enumerate(self.files):
            with refused(f"{shown(file)} of {self.name} cannot be read", "Replace or remove it."):
                key, picture = json.dumps([file, *self.stamp(at)]), self.picture(at)
                index[key] = known.get(key) or [sha256(picture), *look(picture)]
        if index != known:
            write_whole(place.parent, place.name, lambda path: path.write_text(json.dumps(index), encoding="utf-8"))
        return [(content, Header(*header)) for content, *header in index.values()]

    def headers(self) -> list[Header]:
        """Of all images; a source of too many opens a sample."""
        return [header for _, header in self.looked_at]

    def hashes(self, positions: Ints, most_bytes: int | None) -> list[str] | None:
        """SHA-256 of the files at `positions`; None where that takes reading more than `most_bytes` again."""
        return [self.looked_at[at][0] for at in positions]

    def content_hash(self) -> str:
        """SHA-256 over the classes in order, and the path and SHA-256 of every file."""
        return self._digest(content for content, _ in self.looked_at)

    def _digest(self, contents: Iterable[str]) -> str:
        names: Iterable[str] = self.files
        if self.is_table:
            parts = np.repeat(list(self.sizes), list(self.sizes.values())).tolist()
            rows = zip(parts, (self.classes[label] for label in self.labels), self.files, strict=True)
            names = (json.dumps(row) for row in rows)
        digest = hashlib.sha256(f"reading {READING}\n".encode())
        for entry in chain([("classes", json.dumps(self.classes))], zip(names, contents, strict=True)):
            digest.update(json.dumps(entry).encode() + b"\n")
        return digest.hexdigest()

    @property
    def test_images(self) -> int:
        """Size of the test part: the source's own, or a fifth and at least one per class."""
        return self.sizes.get("test", max(len(self.classes), round(len(self.files) / 5)))

    def facts(self, image_size: int | None = None, channels: int | None = None) -> SourceFacts:
        """Shape and sizes; what is None is taken from the images, whose headers are then all known."""
        train = self.sizes["train"] - (0 if "test" in self.sizes else self.test_images)
        return SourceFacts(
            image_size=image_size or self._side(),
            channels=channels or (1 if all(header.is_grey for _, header in self.looked_at) else 3),
            classes=len(self.classes),
            train_images=train,
            test_images=self.test_images,
            validation_images=self.sizes.get("validation", max(len(self.classes), round(train / 10))),
            own_validation="validation" in self.sizes,
        )

    def _side(self) -> int:
        sizes = {(head.wide, head.high): file for (_, head), file in zip(self.looked_at, self.files, strict=True)}
        (side, high), *others = sizes
        if others or side != high:
            found = " and ".join(f"{wide}x{high} pixels ({name})" for (wide, high), name in list(sizes.items())[:2])
            raise SizeNeeded(
                f"Images of {self.name} are not squares of one size: there are {found}. Set data.image_size, the side "
                f"that all are resized to, e.g. data.image_size={32 if others else min(side, high)}."
            )
        return side

    def positions(self, spec: DataSpec) -> dict[str, Ints]:
        """Positions in `files` of the images of each split, ascending, for a resolved specification."""
        starts = dict(zip(self.sizes, np.cumsum([0, *self.sizes.values()])[:-1].tolist(), strict=True))
        labels = {part: self.labels[start : start + self.sizes[part]] for part, start in starts.items()}
        return parted(labels, spec, tested=self.test_images)

    def is_held(self, facts: SourceFacts) -> bool:
        """Whether memory holds all images, of which each seed can then draw its own; else they are streamed."""
        return not self.crops and memory_needed(facts) <= memory_limit()

    def read(self, spec: DataSpec, facts: SourceFacts, *, device: "torch.device", phase: Phase) -> "Splits":
        """See `Source`: in memory where all images fit into half of it, else streamed, with the same pixels."""
        from harness.data.splits import split

        parts = self.positions(spec)
        if phase == "tune":
            del parts["test"]
        reading = Reading.of(spec, side=facts.image_size, channels=facts.channels)
        if not self.is_held(facts):
            check_memory(spec.source, facts, min(1000, len(self.files)) * reading.channels * reading.side**2)
            return {part: self._streamed(part, chosen, reading, device) for part, chosen in parts.items()}
        images = self._decoded(np.arange(len(self.files)), reading, mapped=False)
        return {part: split(images[chosen], self.labels[chosen], device) for part, chosen in parts.items()}

    def _streamed(self, part: str, chosen: Ints, reading: Reading, device: "torch.device") -> "AnySplit":
        import torch

        from harness.data.splits import StreamedSplit

        crops, pixels = self.crops and part == "train", None
        if not crops:
            try:
                pixels = self._decoded(chosen, reading, mapped=True)
            except Unkept as error:
                what = counted(len(chosen), f"{part} image")
                log.warning("%s of %s are decoded in each pass, not kept: %s", what, self.name, error)
        return StreamedSplit(
            source=self,
            positions=chosen,
            labels=torch.from_numpy(self.labels[chosen]),
            reading=reading,
            crops=crops,
            threads=min(16, torch.get_num_threads()),  # of one training, where several run side by side
            device=device,
            pixels=pixels,
        )

    def _decoded(self, positions: Ints, reading: Reading, *, mapped: bool) -> Bytes:
        """The images at `positions` as `reading` has them, (n, C, side, side), decoded once and kept."""

        def blocks() -> Iterator[Bytes]:
            log.info("Decoding %s of %s", counted(len(positions), "image"), self.name)
            with ThreadPoolExecutor() as pool:
                for start in range(0, len(positions), 256):
                    pictures = map(self.picture, positions[start : start + 256].tolist())
                    yield np.stack(list(pool.map(reading, pictures)))

        key = f"folder {READING} {self.content_hash()} {reading} {hashlib.sha256(positions.tobytes()).hexdigest()}"
        return stored(key, (len(positions), reading.channels, reading.side, reading.side), blocks, mapped=mapped)

    def outline(self, spec: DataSpec) -> Mapping[str, Any]:
        headers, labels = self.headers(), {part: self.labels[chosen] for part, chosen in self.positions(spec).items()}
        sizes = Counter(f"{header.wide}x{header.high}" for header in headers)
        return {
            "origins": {part: "held out" for part in PARTS if part not in self.sizes},
            "classes": class_counts([shown(name) for name in self.classes], labels),
            "skipped": self.skipped,
            "sizes": dict(sizes.most_common(5)),
            "distinct_sizes": len(sizes),
            "modes": dict(Counter(header.mode for header in headers).most_common()),
            "looked_at": len(headers) if len(headers) < len(self.files) else None,
            "several_frames": sum(header.has_more for header in headers),
        }

    def names(self, spec: DataSpec) -> Mapping[str, Sequence[str]]:
        return {part: [self.files[at] for at in chosen] for part, chosen in self.positions(spec).items()}


def class_counts(names: Sequence[str], labels: Mapping[str, Ints]) -> tuple[ClassCount, ...]:
    """Images of each class in each split, from the labels of the splits."""
    counts = [np.bincount(labels[part], minlength=len(names)).tolist() for part in PARTS]
    rows = zip(names, *counts, strict=True)
    return tuple(ClassCount(name=name, train=train, validation=held, test=test) for name, train, held, test in rows)


def in_order(names: Iterable[str]) -> list[str]:
    """Class names as they are numbered: sorted; by their value where all are numbers (0, 1, 2, 10)."""
    found = sorted(names)
    if all(name.isascii() and name.isdecimal() for name in found):
        found.sort(key=int)
    return found
