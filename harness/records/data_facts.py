"""What is known of the images that a study is trained and tested on: plain numbers, kept with its provenance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness.records.files import RecordsError, adapter, reading
from harness.records.layout import STUDY_FILE
from harness.spec import NAMED_SOURCES, Arm
from harness.spec.checks import later
from harness.spec.data import named_classes
from harness.spec.formats import counted
from harness.spec.procedural import TESTED

if TYPE_CHECKING:
    from harness.records.run_table import StudyRecords

PART_NAMES = {"train": "training", "validation": "validation", "test": "test"}
PARTS = tuple(PART_NAMES)

KEY = "data"  # where the provenance of a study keeps its `DataFacts`: a list

_FEWEST_TEST_IMAGES = 200
_MOST_UNEVEN = 10  # from so many images of one class for each of another on, a caution says so


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """Files or folders that are no part of the data, for one reason."""

    reason: str
    files: int
    first: tuple[str, ...]  # paths relative to the data's folder; at most five


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Images that are there more than once."""

    compared: str  # what is the same: `pixels at 32 px`, `bytes of the files`
    test_in_train: int  # test images that are also training images, those held out for validation included
    validation_in_train: int
    relabelled: int  # images under more than one class, in whatever parts
    repeated: int  # all images that are there already
    first: tuple[str, ...] = ()  # `test/cat/1.png = train/cat/2.png`: at most five of those that matter most

    def in_words(self) -> str:
        if not self.repeated:
            return f"none (compared: {self.compared})"
        parts = (
            (self.repeated, "in all"),
            (self.test_in_train, "of the test images in training"),
            (self.validation_in_train, "of the validation images in training"),
            (self.relabelled, "under more than one class"),
        )
        told = ", ".join(f"{number:,} {text}" for number, text in parts if number)
        examples = f"; e.g. {', '.join(self.first)}" if self.first else ""
        return f"{told} (compared: {self.compared}{examples})"


@dataclass(frozen=True, kw_only=True)
class ClassCount:
    """Images of one class in each part."""

    name: str
    train: int
    validation: int
    test: int

    @property
    def total(self) -> int:
        return self.train + self.validation + self.test


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Images of each part and class, as they are, and what was passed over."""

    source: str
    data_hash: str
    resplit: bool = later(False)
    """Whether each seed has drawn images of its own: classes, duplicates and origins are those of one seed's draw."""
    train: int  # images that training subsets are taken from, without those held out
    validation: int
    test: int
    origins: Mapping[str, str] = field(default_factory=dict)  # by part: a folder, or what it is held out of
    classes: tuple[ClassCount, ...] = ()  # empty where the images of a named source have not been counted
    sizes: Mapping[str, int] = field(default_factory=dict)  # by `width x height`: the five most frequent
    distinct_sizes: int = 0
    modes: Mapping[str, int] = field(default_factory=dict)  # by Pillow's name of the mode, such as L (grey) or P
    looked_at: int | None = None  # files that sizes and modes are told of, where not all were opened
    several_frames: int = 0  # files of several frames or pages, of which the first is read
    skipped: tuple[Skipped, ...] = ()
    duplicates: Duplicates | None = None  # None where they have not been looked for

    @property
    def images(self) -> int:
        """Images of all parts together."""
        return self.train + self.validation + self.test

    def lines(self) -> Iterator[tuple[str, str]]:
        """What is known, as pairs of a heading and a text; the classes apart."""
        if self.resplit:
            drawn = f"draws its own training, validation and test images from all {self.images:,}"
            yield "Each seed", f"{drawn} (here, classes and duplicates are those of one seed)"
        else:
            yield "All seeds", "share one split into training, validation and test images"
        for part, name in PART_NAMES.items():
            origin = f", {self.origins[part]}" if part in self.origins else ""
            yield f"{name.capitalize()} images", f"{getattr(self, part):,}{origin}"
        if self.classes:
            totals = sorted(row.total for row in self.classes)
            least = "" if totals[0] == totals[-1] else f"{totals[0]:,} to "
            yield "Classes", f"{len(self.classes):,}, of {least}{counted(totals[-1], 'image')}"
        looked_at = "" if self.looked_at is None else f" (of {counted(self.looked_at, 'file')} looked at)"
        sizes = ", ".join(f"{name} {number:,}" for name, number in self.sizes.items())
        if (others := self.distinct_sizes - len(self.sizes)) > 0:
            sizes += f" and {counted(others, 'other size')}"
        modes = ", ".join(f"{name} {number:,}" for name, number in self.modes.items())
        for heading, numbers, told in (("Sizes", self.sizes, sizes), ("Modes", self.modes, modes)):
            if numbers:
                yield heading, (told if len(numbers) > 1 else next(iter(numbers))) + looked_at
        if self.several_frames:
            yield "Several frames or pages", f"{counted(self.several_frames, 'file')}; the first of each is read"
        for item in self.skipped:
            more = ", ..." if item.files > len(item.first) else ""
            yield f"Skipped: {item.reason}", f"{item.files:,} ({', '.join(item.first)}{more})"
        found = self.duplicates
        yield "Duplicates", "not looked for here; `patchbench data check` does" if found is None else found.in_words()

    def in_words(self) -> Iterator[str]:
        """What is known in a line, and one for each reason why files were skipped."""
        known = [f"{heading.lower()} {text}" for heading, text in self.lines() if not heading.startswith("Skipped")]
        yield f"{self.source}: {'; '.join(known)}"
        yield from (f"{heading}: {text}" for heading, text in self.lines() if heading.startswith("Skipped"))

    def cautions(self) -> tuple[str, ...]:
        """What makes a result on these images less than it seems, a sentence each."""
        return (*self._of_images(), *self._of_classes())

    def _of_images(self) -> Iterator[str]:
        test, source, found = counted(self.test, "test image"), self.source, self.duplicates
        if 0 < self.test < _FEWEST_TEST_IMAGES:
            worth = f"{100 / self.test:.2g}"
            yield f"{source} has only {test}: one of them is {worth} point{'s' * (worth != '1')} of accuracy."
        if found is not None and found.test_in_train:
            yield (
                f"{found.test_in_train:,} of {test} of {source} also among the training images (the same "
                f"{found.compared}): there, accuracy tells what was memorised."
            )
        if found is not None and found.relabelled:
            yield (
                f"{counted(found.relabelled, 'image')} of {source} under more than one class (the same "
                f"{found.compared}): no model can be right about all of them."
            )

        deep = {mode: images for mode, images in self.modes.items() if mode[0] in "IF"}  # integers, floats
        if deep:
            yield (
                f"{counted(sum(deep.values()), 'image')} of {source} of more than 8 bits per pixel (modes "
                f"{', '.join(sorted(deep))}): integers are read by the whole range of 16 bits, floats from 0 to 1, so "
                "that images of 12 bits are almost black. Rescale such images first."
            )

    def _of_classes(self) -> Iterator[str]:
        for part in PARTS[1:]:
            without = [f"'{row.name}'" for row in self.classes if not getattr(row, part)]
            if without and getattr(self, part):
                more = f" and {len(without) - 5:,} more" if len(without) > 5 else ""
                yield (
                    f"The {PART_NAMES[part]} images of {self.source} lack {counted(len(without), 'class')}, "
                    f"{', '.join(without[:5])}{more}: accuracy there says nothing of what is not there."
                )
        for part, name in (("total", ""), ("train", "training "), ("test", "test ")):
            numbers = sorted((getattr(row, part), row.name) for row in self.classes if getattr(row, part))
            if numbers and numbers[-1][0] >= _MOST_UNEVEN * numbers[0][0]:
                (few, rare), (many, frequent) = numbers[0], numbers[-1]
                yield (
                    f"Classes of {self.source} are uneven: '{frequent}' has {many:,} {name}images, '{rare}' {few:,}. "
                    "Accuracy is mostly that of the frequent classes."
                )
                return


def of_provenance(provenance: Mapping[str, Any]) -> tuple[DataFacts, ...]:
    """What the provenance of a study says of its data; empty in results of earlier versions. `RecordsError` else."""
    with reading(Path(STUDY_FILE)):
        return cast("tuple[DataFacts, ...]", adapter(tuple[DataFacts, ...]).validate_python(provenance.get(KEY, ())))


def class_names(provenance: Mapping[str, Any], source: str, number: int) -> tuple[str, ...]:
    """What the classes of a source are called, in the order of the labels, `number` at least; `class 3` if unknown.

    Of a named source by its name, of a folder as the study keeps it.
    """
    told = [tuple(row.name for row in facts.classes) for facts in of_provenance(provenance) if facts.source == source]
    known = (names for names in (named_classes(source), *told) if len(names) >= number)
    return next(known, tuple(f"class {label}" for label in range(number)))


def test_overlap(records: "StudyRecords", arm: Arm) -> float:
    """Expected share of the test images of one seed that are among those of another, where each seed draws its own.

    Two draws of n test images from a pool of N have n^2 / N in common on average, so that the share is n / N. It is 0
    where seeds draw none of their own. `RecordsError` where nothing tells the sizes.
    """
    data = records.study.data_of(arm)
    if not data.resplit:
        return 0.0
    if data.made is not None:
        return TESTED  # of the objects
    for facts in of_provenance(records.provenance):
        if facts.source == data.source:
            return facts.test / facts.images
    known = NAMED_SOURCES.get(data.source)
    if known is None:
        raise RecordsError(f"{STUDY_FILE} does not tell how many images {data.source} has. Run the study again.")
    return known.test_images / known.images


def shown(name: str) -> str:
    """A file's name as it can be written anywhere: what does not print, and bytes that are no text, as escapes."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in name)
