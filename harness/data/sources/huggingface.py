"""Sets of images of the Hugging Face hub, read by the package `datasets`: `huggingface:NAME:CONFIG:LABEL`."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.data.photograph_source import PhotographSource
from harness.data.photographs import Encoded, Picture
from harness.data.source import refused
from harness.data.sources.folders import PARTS
from harness.spec import InvalidInput
from harness.spec.errors import require


def open_source(kind: str, argument: str) -> "HubImages":
    """The set, with the columns of its images and labels found by their types. Raises `InvalidInput`."""
    what, (name, config, column) = f"{kind}:{argument}", (*argument.split(":", 2), "", "")[:3]
    try:
        import datasets
    except ImportError as error:
        raise InvalidInput(
            f"data.source is {what!r}, which needs the package datasets. Install it: pip install "
            "'patchbench[huggingface]'."
        ) from error
    with refused(f"{what} cannot be loaded"):
        found = datasets.load_dataset(name, config or None)
    splits = {part: found[split] for part, names in PARTS.items() for split in names if split in found}
    if "test" not in splits and "validation" in splits:  # that to validate on is tested on
        splits["test"] = splits.pop("validation")
    require({"train", "test"} <= set(splits), f"{what} has the splits {', '.join(found)}; it must have train and test.")
    features = splits["train"].features
    image = _column(what, features, datasets.Image, "")
    label = _column(what, features, datasets.ClassLabel, column)
    names, rows = list(features[label].names), {}
    for part, split in splits.items():
        numbers = list(split[label])
        require(
            all(number is not None and 0 <= number < len(names) for number in numbers),
            f"{what}: split {part} has images without a label.",
        )
        rows[part] = [(f"{part}[{at}]", names[number]) for at, number in enumerate(numbers)]
    used = {name for _, name in rows["train"]}
    paths = [Path(file["filename"]) for split in splits.values() for file in split.cache_files]
    files = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return HubImages.of(
        what,
        Path(),
        rows,
        classes=[name for name in names if name in used],
        is_table=True,
        tables={part: split.cast_column(image, datasets.Image(decode=False)) for part, split in splits.items()},
        column=image,
        state=hashlib.sha256(repr(files).encode()).hexdigest() if files else uuid4().hex,
    )


def _column(what: str, features: Mapping[str, Any], kind: type, named: str) -> str:
    """The one column of a type, or that which is named."""
    columns = [name for name, feature in features.items() if isinstance(feature, kind)]
    if named in columns:
        return named
    require(
        len(columns) == 1 and not named,
        f"{what} has {len(columns)} columns of type {kind.__name__}: {', '.join(columns) or 'none'}; it needs one, or "
        "the name of that of its labels: huggingface:NAME:CONFIG:LABEL.",
    )
    return columns[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class HubImages(PhotographSource):
    """Image files that are cells of tables."""

    tables: Mapping[str, Any]
    column: str
    state: str  # changes where the tables' files do; where these are in memory, with each opening

    def picture(self, at: int) -> Picture:
        name = self.files[at]
        part, _, number = name.rstrip("]").partition("[")
        row = self.tables[part][int(number)][self.column]
        return Encoded(name, row["bytes"]) if row["bytes"] is not None else Path(row["path"])

    def stamp(self, at: int) -> list[Any]:
        return [self.state]
