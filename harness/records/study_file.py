"""study.json: the resolved study and where its results came from. Read without pandas: a status comes at once."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from harness.records.files import adapter, read_json, reading, write_json
from harness.records.layout import STUDY_FILE, StudyFolder
from harness.spec import DataSpec, Recipe, ResolvedStudy, to_plain
from harness.spec.checks import field_types
from harness.spec.claims import SHIPPED, Claim, KeptClaim, as_kept_now


def write_study(folder: Path, study: ResolvedStudy, provenance: dict[str, Any]) -> None:
    """Keep study.json: the resolved study and where its results came from. Passwords in URLs are not kept."""
    content = json.dumps({"study": to_plain(study), "provenance": provenance}, ensure_ascii=False)
    write_json(folder / STUDY_FILE, json.loads(without_passwords(content)))


def without_passwords(text: str) -> str:
    """The text with `user:***@` for every `user:password@` of a URL; in linear time, as it may be from anybody."""

    def hidden(word: re.Match[str]) -> str:
        before, at, after = word[0].rpartition("@")
        return re.sub(r"://([^:/]+):.+", r"://\1:***", before, count=1) + at + after

    return re.sub(r'[^\s"]+', hidden, text)


def latest_study(folder: Path) -> tuple[ResolvedStudy, dict[str, Any]]:
    """The study that was last launched into a results folder, whose runs need not be in the tables yet."""
    return read_study(StudyFolder(folder).latest_study_file.parent)


def read_study(folder: Path) -> tuple[ResolvedStudy, dict[str, Any]]:
    """The resolved study and the provenance in study.json; `RecordsError` when it is not whole."""
    with reading(folder / STUDY_FILE):
        content = read_json(folder / STUDY_FILE)
        study = content["study"]
        if study["search"].get("pruning"):
            raise ValueError("its trials were stopped early (search.pruning), which only version 0.1 reads")
        for arm in (study["baseline"], *study["arms"]):
            arm["changes"] = {key: _typed(key, value) for key, value in arm["changes"].items()}
        study["claims"] = tuple(map(_claim, study["claims"]))
        return adapter(ResolvedStudy).validate_python(study), dict(content["provenance"])


def _claim(content: dict[str, Any]) -> Claim:
    """A claim as it was kept: one of a study file's own type keeps what its class adds as it is."""
    content = as_kept_now(content)
    for shipped in SHIPPED:
        if shipped.__dataclass_fields__["type"].default == content["type"]:
            return cast("Claim", adapter(cast("Any", shipped)).validate_python(content))
    content = {"kind": "paper"} | content
    common = {item.name for item in fields(Claim)}
    own = {key: value for key, value in content.items() if key not in common}
    return KeptClaim(**{key: content[key] for key in common}, fields=own)


def _typed(key: str, value: Any) -> Any:
    """An arm's change of the field `key`, with the field's type: JSON has dicts for dataclasses, lists for tuples."""
    part, *names = key.split(".")
    hint: Any = {"recipe": Recipe, "data": DataSpec}[part]
    for name in names:
        hint = field_types(hint)[name]
    return adapter(hint).validate_python(value)
