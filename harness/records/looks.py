"""looks.jsonl: what a study announced before its first run, and every look at its results, a line each.

It is published beside study.json, only ever added to, and stays where results of other settings are set aside:
intervals are widened for the looks that it holds. Like the manifest it is no protection from who can write the file.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from harness.records import manifest
from harness.records.files import RecordsError, adapter, parse_json, read_bytes, sha256, write_bytes
from harness.records.study_file import without_passwords
from harness.spec import ResolvedStudy, canonical_json, to_plain
from harness.spec.checks import Checked
from harness.spec.study import changed_fields

NAME = "looks.jsonl"

TEXTS = (
    "name",
    "scale",
    "question",
    "source",
    "minutes",
    "unit",
    "figure",
    "figures",
    "changes_after_first_look",
    "answer",
)
CLAIM_TEXTS = ("statement", "source", "conditions")
"""Fields of a study and of its claims that are not announced: a change of them changes no result and no verdict."""


@dataclass(frozen=True, kw_only=True)
class Registered(Checked):
    """A study as it was announced, written at its first launch, before its first run."""

    event: Literal["registered"] = "registered"
    time: str
    preregistered: str  # SHA-256 of the canonical JSON of `study`
    study: Mapping[str, Any]  # see `announced`
    git_revision: str  # of the code that was launched
    git_dirty: bool | None = None  # whether that was changed; None where that is unknown


@dataclass(frozen=True, kw_only=True)
class Look(Checked):
    """A report made from results. The same runs and study reported again are the same look."""

    event: Literal["look"] = "look"
    time: str
    digest: str  # SHA-256 of the canonical JSON of the study as it was reported; see `announced`
    runs_of: str  # SHA-256 of which confirm runs there were and how they had ended
    seeds: tuple[int, ...]  # planned
    runs: Mapping[str, tuple[str, ...]]
    """Digests of the completed confirm runs, sorted, by arm and training size."""
    level: float  # confidence level of the report's intervals
    spends: bool
    """Whether later looks are widened for this one: not at scale smoke, nor where too few seeds allow an interval."""
    changed: tuple[str, ...] = ()  # fields that differ from what was registered
    changed_since_look: tuple[str, ...] = ()  # fields that differ from the look before; none at the first
    seeds_added: tuple[int, ...] = ()  # since the look before
    study: Mapping[str, Any] = field(
        default_factory=dict
    )  # as it was reported; in the file only where the line before has another one

    @property
    def completed(self) -> int:
        """Confirm runs that were completed."""
        return sum(map(len, self.runs.values()))


@dataclass(frozen=True)
class Ledger:
    """What looks.jsonl holds; nothing where there is none."""

    registered: Registered | None = None
    looks: tuple[Look, ...] = ()
    seen: int = 0  # looks that were taken before the study was registered

    def __bool__(self) -> bool:
        return self.registered is not None or bool(self.looks)


def announced(study: ResolvedStudy) -> dict[str, Any]:
    """What a study announces: its settings, seeds and claims, ready for JSON, without texts and passwords."""
    plain = {key: value for key, value in to_plain(study).items() if key not in TEXTS}
    plain["claims"] = [{key: claim[key] for key in claim.keys() - set(CLAIM_TEXTS)} for claim in plain["claims"]]
    found: dict[str, Any] = parse_json(without_passwords(canonical_json(plain)).encode())
    return found


def digest_of(plain: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of what a study announces."""
    return sha256(canonical_json(plain).encode())


def now() -> str:
    """The local time with its offset from UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S %z")


def registration(study: ResolvedStudy, git: Mapping[str, Any]) -> Registered:
    """The first line of a study's ledger; `git` as of `provenance.git_state`."""
    plain = announced(study)
    return Registered(time=now(), preregistered=digest_of(plain), study=plain, **git)


def changes(ledger: Ledger, study: Mapping[str, Any]) -> dict[str, Any]:
    """`changed`, `changed_since_look` and `seeds_added` of a look at a study after those of a ledger."""
    known, last = ledger.registered, ledger.looks[-1] if ledger.looks else None
    found: dict[str, Any] = {"changed": tuple(changed_fields(known.study, study)) if known else ()}
    if last is not None:
        found["changed_since_look"] = tuple(changed_fields(last.study, study))
        found["seeds_added"] = tuple(seed for seed in study["seeds"] if seed not in last.seeds)
    return found


def append(folder: Path, entry: Registered | Look) -> None:
    """Add a line to the ledger in a study's results folder, atomically. The caller holds the folder's write lock."""
    path, ledger = folder / NAME, read_ledger(folder)
    content, before = to_plain(entry), ledger.looks[-1] if ledger.looks else ledger.registered
    if isinstance(entry, Look) and before is not None and before.study == entry.study:
        del content["study"]
    line = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    write_bytes(path, (read_bytes(path) if ledger else b"") + line)


def read_ledger(folder: Path) -> Ledger:
    """The ledger in a study's results folder; `RecordsError` for one that is damaged."""
    path = folder / NAME
    if not os.path.lexists(path):
        return Ledger()
    registered, looks, seen, study = None, list[Look](), 0, dict[str, Any]()
    lines = read_bytes(path).splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            match _entry(line):
                case Registered() as entry if registered is None:
                    registered, seen, study = entry, len(looks), dict(entry.study)
                case Look() as entry:
                    looks.append(replace(entry, study=entry.study or study))
                    study = dict(looks[-1].study)
                case _:
                    raise ValueError("it registers the study again")
        except Exception as error:
            raise _damaged(path, f"line {number} is no entry of a ledger of looks") from error
    if not lines:
        raise _damaged(path, "it is empty")
    return Ledger(registered, tuple(looks), seen)


def _entry(line: bytes) -> Registered | Look:
    content = parse_json(line)
    kind = {"registered": Registered, "look": Look}[content["event"]]
    entry: Registered | Look = adapter(kind).validate_python(content)
    if isinstance(entry, Look) and not 0 < entry.level < 1:
        raise ValueError(f"its level is {entry.level}")
    return entry


def _damaged(path: Path, how: str) -> RecordsError:
    return RecordsError(f"{path} is damaged: {how}; restore the file, as intervals follow from the looks in it.")


def require_ledger(folder: Path) -> None:
    """Refuse a ledger that is damaged, or was changed or removed after it was published."""
    read_ledger(folder)
    try:
        manifest.read_manifest(folder)
    except RecordsError:  # it says nothing, and the next report replaces it
        return
    manifest.require_unchanged(folder, (NAME,))
