"""Sets of images of the Hugging Face hub, or in its format: `huggingface:NAME`, `NAME:CONFIG` or `NAME:CONFIG:LABEL`.

Needs the package `datasets`, which finds and downloads them. Nothing that a set brings along is executed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.data.labelled_files import LabelledFiles, labelled
from harness.data.photograph_source import ImageFile, index_place, read_index, write_index
from harness.data.photographs import Encoded, Picture
from harness.data.subsets import Ints
from harness.spec import InvalidInput
from harness.spec.errors import require

PARTS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
"""What the splits are called; where there is none to test on, that to validate on is tested on."""


def open_source(kind: str, argument: str) -> "HubImages":
    """The set, with the columns of its images and labels found by their types. Raises `InvalidInput`."""
    name, config, column = (*argument.split(":", 2), "", "")[:3]
    what = f"{kind}:{argument}"
    try:
        import datasets
    except ImportError as error:
        raise InvalidInput(
            f"data.source is {what!r}, which needs the package datasets. Install it: pip install "
            "'patchbench[huggingface]'."
        ) from error
    try:
        found = datasets.load_dataset(name, config or None)
    except Exception as error:  # of the network, of the hub, of files: it raises its own and those of what it uses
        raise InvalidInput(f"{what} cannot be loaded: {type(error).__name__}: {error}") from error
    splits = {part: split for part, names in PARTS.items() for split in names if split in found}
    if "test" not in splits and "validation" in splits:
        splits["test"] = splits.pop("validation")
    require({"train", "test"} <= set(splits), f"{what} has the splits {', '.join(found)}; it must have train and test.")
    features = found[splits["train"]].features
    image = _column(what, features, datasets.Image, "image", "")
    label = _column(what, features, datasets.ClassLabel, "label", column)
    rows = {
        part: found[split].cast_column(image, datasets.Image(decode=False)) for part, split in sorted(splits.items())
    }
    paths = [Path(file["filename"]) for split in splits.values() for file in found[split].cache_files]
    files = " ".join(f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in paths)
    names = list(features[label].names)
    parts: dict[str, list[tuple[str, str]]] = {}
    for part in ("train", "validation", "test"):
        if part in rows:
            numbers = list(rows[part][label])
            require(
                all(number is not None and 0 <= number < len(names) for number in numbers),
                f"{what}: split {splits[part]} has images without a label.",
            )
            parts[part] = [(f"{part}[{at}]", names[number]) for at, number in enumerate(numbers)]
    used = {name for _, name in parts["train"]}
    classes = [name for name in names if name in used]
    return labelled(HubImages, what, Path(), parts, classes=classes, images=_Images(rows, image, files))


def _column(what: str, features: Mapping[str, Any], kind: type, noun: str, named: str) -> str:
    """The one column of a type, or that which is named."""
    columns = [name for name, feature in features.items() if isinstance(feature, kind)]
    if named in columns:
        return named
    require(
        len(columns) == 1 and not named,
        f"{what} has {len(columns)} columns of type {kind.__name__}: {', '.join(columns) or 'none'}; it needs one for "
        f"the {noun}" + (", or its name: huggingface:NAME:CONFIG:LABEL." if noun == "label" else "."),
    )
    return columns[0]


@dataclass(frozen=True)
class _Images:
    """The image files in the rows of each part."""

    rows: Mapping[str, Any]
    column: str
    files: str
    """Names, sizes and times of the tables' files; empty where they are in memory."""

    def __getitem__(self, name: str) -> Picture:
        part, _, number = name.rstrip("]").partition("[")
        row = self.rows[part][int(number)][self.column]
        return Encoded(name, row["bytes"]) if row["bytes"] is not None else Path(row["path"])


@dataclass(frozen=True, kw_only=True)
class HubImages(LabelledFiles):
    """Image files that are cells of tables."""

    images: _Images

    def pictures(self, positions: Iterable[int]) -> Sequence[Picture]:
        return [self.images[self.files[at][0]] for at in positions]

    @cached_property
    def looked_at(self) -> tuple[ImageFile, ...]:
        """See `PhotographSource`; kept for as long as the files of the tables stay as they are."""
        place = index_place(f"{self.name} {self.images.files}")
        index = read_index(place) if self.images.files else {}
        if len(index) != len(self.files):
            index = {name: ImageFile.look(self.images[name]) for name, _ in self.files}
            if self.images.files:
                write_index(place, index)
        return tuple(map(ImageFile.of, index.values()))

    def stamp(self, positions: Ints) -> str:
        return f"{self.content_hash()} {positions.tolist()}"
