"""study.json: the resolved study and where its results came from. Read without pandas: a status comes at once."""

import functools
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness.records.files import RecordsError, read_json, write_json
from harness.records.layout import STUDY_FILE, StudyFolder
from harness.spec import DataSpec, Recipe, ResolvedStudy, to_plain
from harness.spec.checks import field_types
from harness.spec.claims import SHIPPED, Claim, KeptClaim

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def write_study(folder: Path, study: ResolvedStudy, provenance: dict[str, Any]) -> None:
    """Keep study.json: the resolved study and where its results came from. Passwords in URLs are not kept."""
    content = json.dumps({"study": to_plain(study), "provenance": provenance}, ensure_ascii=False)
    write_json(folder / STUDY_FILE, json.loads(without_passwords(content)))


def without_passwords(text: str) -> str:
    """The text with `user:***@` for every `user:password@` of a URL."""
    *before, last = text.split("@")
    return "@".join([*map(_without_password, before), last])


def _without_password(text: str) -> str:
    """What stands before an @; looked through once, as it may be a megabyte of anything."""
    start = max((end.end() for end in re.finditer(r'[\s"]', text)), default=0)
    return text[:start] + re.sub(r"://([^:/]+):.+", r"://\1:***", text[start:], count=1)


def latest_study(folder: Path) -> tuple[ResolvedStudy, dict[str, Any]]:
    """The study that was last launched into a results folder, whose runs need not be in the tables yet."""
    return read_study(StudyFolder(folder).latest_study_file.parent)


def read_study(folder: Path) -> tuple[ResolvedStudy, dict[str, Any]]:
    """The resolved study and the provenance in study.json; `RecordsError` when it is not whole."""
    from pydantic import ValidationError

    content = read_json(folder / STUDY_FILE)
    try:
        if content["study"]["search"].get("pruning"):
            raise ValueError("its trials were stopped early (search.pruning), which only version 0.1 reads")
        for arm in (content["study"]["baseline"], *content["study"]["arms"]):
            arm["changes"] = {key: _typed(key, value) for key, value in arm["changes"].items()}
        content["study"]["claims"] = tuple(map(_claim, content["study"]["claims"]))
        return _reader(ResolvedStudy).validate_python(content["study"]), dict(content["provenance"])
    except (ValidationError, ValueError, LookupError, ArithmeticError, TypeError, AttributeError) as error:
        raise RecordsError(f"{folder / STUDY_FILE} does not hold a study: {error}") from error


@functools.cache
def _reader(kind: Any) -> "TypeAdapter[Any]":
    """Made once: it takes longer than to read a study with it."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _claim(content: dict[str, Any]) -> Claim:
    """A claim as it was kept: one of a study file's own kind keeps what its class adds as it is."""
    for kind in SHIPPED:
        if kind.__dataclass_fields__["kind"].default == content["kind"]:
            return cast("Claim", _reader(cast("Any", kind)).validate_python(content))
    common = {item.name for item in fields(Claim)}
    own = {key: value for key, value in content.items() if key not in common}
    return KeptClaim(**{key: content[key] for key in common}, fields=own)


def _typed(key: str, value: Any) -> Any:
    """An arm's change of the field `key`, with the field's type: JSON has dicts for dataclasses, lists for tuples."""
    part, *names = key.split(".")
    hint: Any = {"recipe": Recipe, "data": DataSpec}[part]
    for name in names:
        hint = field_types(hint)[name]
    return _reader(hint).validate_python(value)
