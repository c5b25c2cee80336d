"""Image files whose labels stand elsewhere than in their paths: in a table, or in what came with the files."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from harness.data.listing import in_order
from harness.data.photograph_source import Files, PhotographSource, check_counts
from harness.records.data_facts import shown
from harness.spec import InvalidInput
from harness.spec.checks import did_you_mean
from harness.spec.errors import require

Rows = Sequence[tuple[str, str]]
"""(name, class) of every image."""


class LabelledFiles(PhotographSource):
    """Files below a folder, each with the part and class that it was given."""

    def _entry_name(self, at: int) -> str:
        name, label = self.files[at]
        ends = len(self.train), len(self.train) + len(self.validation or ())
        part = "train" if at < ends[0] else "validation" if at < ends[1] else "test"
        return json.dumps([part, self.classes[label], name])


S = TypeVar("S", bound=PhotographSource)


def labelled(
    cls: type[S], name: str, root: Path, parts: Mapping[str, Rows], *, classes: Sequence[str] = (), **more: Any
) -> S:
    """A source of files with labels, checked. `parts` has `train`, maybe `validation`, maybe `test`.

    `classes` gives their order; without it, that of their names. Raises `InvalidInput` for what cannot be learned.
    """
    known = list(classes) or in_order({label for _, label in parts["train"]})
    number = {label: at for at, label in enumerate(known)}
    require(len(number) >= 2, f"{name} has {len(number)} class; it needs at least two.")
    (often, times), *_ = Counter(file for rows in parts.values() for file, _ in rows).most_common(1) or [("", 0)]
    require(times < 2, f"{name} names {shown(often)!r} more than once. Remove all rows of it but one.")
    found: dict[str, Files] = {}
    for part, rows in parts.items():
        extra = sorted({label for _, label in rows} - set(known))
        if extra:
            raise InvalidInput(
                f"{name}: part {part} has the class {shown(extra[0])!r}, which train does not have. "
                f"{did_you_mean(extra[0], known)}Rename it, or add training images."
            )
        require(bool(rows), f"{name} has no image of part {part}.")
        found[part] = tuple((file, number[label]) for file, label in rows)
    check_counts(name, known, found["train"], parts=len(found))
    folders = {part: f"part {part}" for part in found} if len(found) > 1 else {}
    return cls(name=name, root=root, classes=tuple(known), folders=folders, **{**found, **more})
