"""How far a study is, from its records alone: it may be running in another process."""

import contextlib
import csv
import io
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.records.files import RecordsError, read_bytes, read_json
from harness.records.layout import REPORT_FILE, StudyFolder, command_line
from harness.records.runs import STATUSES
from harness.records.study_file import latest_study, read_study
from harness.records.write_lock import StudyLock
from harness.spec import InvalidInput, ResolvedStudy, to_plain
from harness.spec.plural import counted
from harness.spec.recipe import BUDGET_UNITS
from harness.spec.run import leaves
from harness.spec.search import OF_MODEL

_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error)
"""What reading a record raises that is not whole."""


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """Counts of a study's runs, and what is under way."""

    study: str
    scale: str
    planned: int
    statuses: dict[str, int]
    """Number of the planned runs by status: completed, diverged, out_of_memory, failed."""
    running: list[dict[str, Any]]
    """`run`, `update`, `updates` of each training under way; empty when no coordinator is at work."""
    coordinator: str
    """Process and host, or what is to be done where nothing is running."""
    command: str
    """What goes on with the study, for a shell."""
    complete: bool
    """Whether every planned run has a result."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_text(self) -> str:
        """A few lines for a terminal."""
        counts = ", ".join(f"{number} {status}" for status, number in sorted(self.statuses.items())) or "none finished"
        lines = [
            f"{self.study} at scale {self.scale}: {counted(self.planned, 'run')} planned; {counts}.",
            self.coordinator,
        ]
        lines += [
            f"  {item['run']}: {item['update']:,} of {counted(item['updates'], 'update')}" for item in self.running
        ]
        return "\n".join(lines)


def read_status(folder: Path) -> StudyStatus:
    """The status of the study that was last launched into the results folder `folder`.

    A coordinator is at work while it holds the study's lock; what it says of itself is then taken. Otherwise the
    tables tell, where they are of this study, else the run folders.
    """
    places = StudyFolder(folder)
    study, provenance = latest_study(folder)
    holder = StudyLock(places.lock).holder()
    said = _said(places.status, holder)
    statuses = said.get("done") or dict(_count(folder, study, is_running=holder is not None))
    planned = sum(study.trials_of(arm) + len(study.seeds) for arm, _ in study.cells)
    command, complete = _command(provenance.get("command"), folder, study), sum(statuses.values()) >= planned
    return StudyStatus(
        study=study.name,
        scale=study.scale,
        planned=planned,
        statuses=statuses,
        running=said.get("running", []),
        coordinator=(
            _next_step(places, command, statuses.get("failed", 0), complete=complete)
            if holder is None
            else f"Process {holder['pid']} on {holder['host']} is at work."
            if holder.keys() >= {"pid", "host"}
            else "Another process is at work."
        ),
        command=command,
        complete=complete,
    )


def _command(kept: object, folder: Path, study: ResolvedStudy) -> str:
    """The command that the study was last launched with, for the folder of results as it is called now."""
    results, told = folder.parents[1], kept if isinstance(kept, str) and kept.isprintable() else ""
    if told.startswith("harness.run("):
        return told
    words: list[str] = []
    with contextlib.suppress(ValueError):
        words = shlex.split(told)
    if words[:1] != ["patchbench"]:  # the records may come from anybody, and this is going to be typed
        return command_line(results, "run", study.name, "--scale", study.scale)
    del words[0]
    while words and words[0].partition("=")[0] == "--results":
        del words[: 1 if "=" in words[0] else 2]
    return command_line(results, *words)


def _next_step(places: StudyFolder, command: str, failed: int, *, complete: bool) -> str:
    if not complete:
        return f"Nothing is running; go on with: {command}"
    if not (places.path / REPORT_FILE).exists():
        return f"Every run has a result, but there is no report; make it with: {command}"
    if failed:
        return f"Complete: every run has a result. The {failed} failed are tried again by: {command}"
    return "Complete: every run has a result."


def _said(path: Path, holder: dict[str, Any] | None) -> dict[str, Any]:
    """What the coordinator that is at work last said of itself; a killed one may have left a file, too."""
    if holder is not None:
        with contextlib.suppress(RecordsError, *_DAMAGED):
            content = dict(read_json(path))
            if (content["process"], content["host"]) == (holder["pid"], holder["host"]):
                return {"done": _counts(content["done"]), "running": [_training(item) for item in content["running"]]}
    return {}


def _counts(content: dict[str, Any]) -> dict[str, int]:
    return {status: int(number) for status, number in content.items() if status in STATUSES}


def _training(content: dict[str, Any]) -> dict[str, Any]:
    return {"run": str(content["run"]), "update": int(content["update"]), "updates": int(content["updates"])}


def _count(folder: Path, study: ResolvedStudy, *, is_running: bool) -> Counter[str]:
    if not is_running and _has_tables_of(folder, study):
        rows = list(_rows(folder))
        runs = StudyFolder(folder).runs
        # A run that was set aside after the tables were written is to be trained again.
        return Counter(
            status for digest, status in rows if not runs.exists() or (runs / digest / "result.json").exists()
        )
    found: dict[tuple[object, ...], str] = {}
    for path in StudyFolder(folder).runs.glob("*/result.json"):
        with contextlib.suppress(InvalidInput, *_DAMAGED):
            status = read_json(path)["result"]["status"]
            place = _place(study, read_json(path.parent / "config.json"))
            if place is not None and status in STATUSES:
                found[place] = status
    return Counter(found.values())


def _has_tables_of(folder: Path, study: ResolvedStudy) -> bool:
    with contextlib.suppress(InvalidInput):
        return (folder / "runs.csv").exists() and read_study(folder)[0] == study
    return False


def _rows(folder: Path) -> Iterator[tuple[str, str]]:
    """Digest and status of every run in the tables."""
    for name in ("runs.csv", "trials.csv"):
        with contextlib.suppress(*_DAMAGED):
            for row in csv.DictReader(io.StringIO(read_bytes(folder / name).decode(), newline="")):
                if row["status"] in STATUSES and _is_digest(row["digest"]):
                    yield row["digest"], row["status"]


def _is_digest(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text) is not None


def _place(study: ResolvedStudy, content: dict[str, Any]) -> tuple[object, ...] | None:
    """Where in the study's plan a run stands, from its config.json: arm, training size, trial or seed.

    None for a run of other settings. Two searches that differ only in their updates, or in what they proposed, are not
    told apart, but no place is counted twice.
    """
    arm, config, trial = study.arm(content["arm"]), content["config"], content["trial"]
    size, updates = config["data"]["train_size"], config["recipe"]["updates"]
    sizes = study.train_sizes or (study.data_of(arm).train_size or size,)
    recipe = study.recipe_of(arm).resolved(size)
    images, all_images = updates * config["recipe"]["batch_size"], recipe.total_images
    if trial is None:
        is_planned = config["seed"] in study.seeds and images == all_images
    else:
        is_whole = images == all_images or study.search.updates is not None
        is_planned = trial < study.trials_of(arm) and images <= all_images and is_whole
    space = study.search.space_of(arm)
    free = [name if name.startswith(OF_MODEL) else f"recipe.{name}" for name in (*BUDGET_UNITS, *space)]
    data = {key: value for key, value in to_plain(study.data_of(arm, size)).items() if value is not None}
    asked = leaves({"model": to_plain(arm.model), "data": data, "recipe": to_plain(recipe)})
    got = leaves(config)
    is_same = all(got.get(key) == value for key, value in asked.items() if not _is_within(key, free))
    if not (is_planned and is_same and size in sizes):
        return None
    return arm.name, size, trial, None if trial is not None else config["seed"]


def _is_within(key: str, fields: Sequence[str]) -> bool:
    """Whether a dotted key is one of `fields`, or a part of one."""
    return any(f"{key}.".startswith(f"{field}.") for field in fields)
