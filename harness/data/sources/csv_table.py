"""A table of image files, `path,label` or `path,label,split`: paths relative to the table's folder."""

import csv
from collections.abc import Iterator
from pathlib import Path, PurePath

from harness.data.photograph_source import PhotographSource
from harness.data.sources.folders import PARTS
from harness.records.data_facts import shown
from harness.spec import InvalidInput
from harness.spec.errors import require


def open_source(kind: str, path: str) -> PhotographSource:
    """Read the table and look for its files; opens no image. Without a column `split`, it is split here.

    `split` is train, val (or validation) or test. Raises `InvalidInput` naming the line.
    """
    table = Path(path).expanduser()
    require(table.is_file(), f"There is no file {table} (data.source={kind}:{path}).")
    parts: dict[str, list[tuple[str, str]]] = {}
    for part, name, label in _rows(table):
        parts.setdefault(part, []).append((name, label))
    require(bool(parts), f"{table} has no row below its header.")
    for part in ("train", "test"):
        require(
            part in parts or "all" in parts,
            f"{table} has no row of split {part}. Add some, or leave the column split out.",
        )
    found = {"train": parts["all"]} if "all" in parts else {part: parts[part] for part in PARTS if part in parts}
    return PhotographSource.of(f"{kind}:{table}", table.parent, found, is_table=True)


def _rows(table: Path) -> Iterator[tuple[str, str, str]]:
    """Part (`all` without a column `split`), path and label of every row."""
    splits = {name: part for part, names in PARTS.items() for name in names}
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            for column in ("path", "label"):
                require(
                    column in columns,
                    f"{table} has no column {column}; its first line must be path,label or path,label,split.",
                )
            for row in reader:
                where = f"{table}, line {reader.line_num}"
                name, label = row["path"] or "", (row["label"] or "").strip()
                part = splits.get((row["split"] or "").strip().lower()) if "split" in columns else "all"
                path = PurePath(name)
                require(bool(label), f"{where}: the label is empty.")
                if part is None:
                    raise InvalidInput(f"{where}: split is {row['split']!r}; it must be train, val or test.")
                require(bool(name.strip()), f"{where}: the path is empty.")
                require(
                    not path.is_absolute() and ".." not in path.parts,
                    f"{where}: {shown(name)!r} leads out of the table's folder. Give a path relative to it.",
                )
                require(
                    (table.parent / name).is_file(), f"{where}: there is no file {shown(str(table.parent / name))}."
                )
                yield part, path.as_posix(), label
    except (csv.Error, UnicodeDecodeError) as error:
        raise InvalidInput(f"{table} is not a table in CSV and UTF-8: {error}.") from error
    except OSError as error:
        raise InvalidInput(f"{table} cannot be read: {error.strerror}.") from error
