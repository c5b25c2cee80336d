"""How far a study is, from its records alone: it may be running in another process."""

import contextlib
import csv
import io
import shlex
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.records.files import RecordsError, adapter, read_bytes, read_json, reading
from harness.records.layout import REPORT_FILE, StudyFolder, command_line
from harness.records.looks import read_ledger
from harness.records.runs import STATUSES, Status
from harness.records.study_file import latest_study
from harness.records.write_lock import StudyLock
from harness.spec import BUDGET_UNITS, TUNE_SEED, ResolvedStudy, to_plain
from harness.spec.formats import counted
from harness.spec.run import leaves
from harness.spec.search import Setting


@dataclass(frozen=True, kw_only=True)
class UnderWay:
    """A training under way."""

    run: str
    update: int
    updates: int
    device: str = ""  # cards by a comma, or cpu; empty before it is known


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """Counts of a study's runs, and what is under way."""

    study: str
    scale: str
    planned: int
    statuses: dict[str, int]  # number of the planned runs by status: completed, diverged, out_of_memory, failed
    running: list[UnderWay]  # empty when no coordinator is at work
    coordinator: str  # process and host, or what is to be done where nothing is running
    command: str  # what goes on with the study, for a shell
    complete: bool  # whether every planned run has a result
    looks: int = 0  # reports that were made from its results
    set_aside: dict[str, str] = field(default_factory=dict)  # devices that get no more runs of this launch, and why

    def as_text(self) -> str:
        """A few lines for a terminal."""
        counts = ", ".join(f"{number} {status}" for status, number in sorted(self.statuses.items())) or "none finished"
        lines = [f"{self.study} at scale {self.scale}: {counted(self.planned, 'run')} planned; {counts}."]
        seen = f"Its results have been looked at in {counted(self.looks, 'report')}."
        running = [
            f"  {item.run}: {item.update:,} of {counted(item.updates, 'update')}"
            + f", {item.device}" * item.device.startswith("cuda")
            for item in self.running
        ]
        aside = [f"{device} is set aside: {reason}" for device, reason in self.set_aside.items()]
        return "\n".join([*lines, self.coordinator, *running, *aside, *([seen] if self.looks else [])])


def read_status(folder: Path, name: str = "") -> StudyStatus:
    """The status of a study: what the coordinator at work says, else its run folders, or without them tables.

    `name`: what the study is called here, where that is the path of its file; it stands in the command.
    """
    places = StudyFolder(folder)
    study, provenance = latest_study(folder)
    holder = StudyLock(places.lock).holder()
    found = (holder and _said(places.status, holder)) or (*_count(places, study), [], {})
    planned, statuses, running, set_aside = found
    command, complete = _command(provenance.get("command"), folder, study, name), sum(statuses.values()) >= planned
    if holder is not None:
        by = "Process {pid} on {host}".format(**holder) if holder else "Another process"
        coordinator = f"{by} is at work."
    elif not complete:
        coordinator = f"Nothing is running; go on with: {command}"
    elif not (folder / REPORT_FILE).exists():
        coordinator = f"Every run has a result, but there is no report; make it with: {command}"
    else:
        failed = statuses.get("failed", 0)
        again = f" The {failed} failed are tried again by: {command}" if failed else ""
        coordinator = f"Complete: every run has a result.{again}"
    return StudyStatus(
        study=study.name,
        scale=study.scale,
        planned=planned,
        statuses=statuses,
        running=running,
        coordinator=coordinator,
        command=command,
        complete=complete,
        looks=len(read_ledger(folder).looks),
        set_aside=set_aside,
    )


def _command(told: object, folder: Path, study: ResolvedStudy, name: str) -> str:
    """The command that the study was last launched with, for the folder of results as it is called now."""
    results, words = folder.parents[1], list[str]()
    if isinstance(told, str) and told.isprintable():
        if told.startswith("harness.run("):
            return told
        with contextlib.suppress(ValueError):
            words = shlex.split(told)
    if words[:1] != ["patchbench"]:  # the records may come from anybody, and this is going to be typed
        return command_line(results, "run", name or study.name, "--scale", study.scale)
    del words[0]
    while words and words[0].partition("=")[0] == "--results":
        del words[: 1 if "=" in words[0] else 2]
    if name.endswith(".py"):  # it may have been launched from another folder
        words = [name if Path(word).name == Path(name).name else word for word in words]
    return command_line(results, *words)


def _said(path: Path, holder: dict[str, Any]) -> tuple[int, dict[str, int], list[UnderWay], dict[str, str]] | None:
    """What the coordinator that is at work last said of itself; None for what a killed one has left."""
    with contextlib.suppress(RecordsError), reading(path):
        said = read_json(path)
        if (said["process"], said["host"]) == (holder["pid"], holder["host"]):
            done = adapter(dict[Status, int]).validate_python(said["done"])
            running = adapter(list[UnderWay]).validate_python(said["running"])
            return (
                int(said["planned"]),
                done,
                running,
                adapter(dict[str, str]).validate_python(said.get("set_aside", {})),
            )
    return None


def _count(places: StudyFolder, study: ResolvedStudy) -> tuple[int, dict[str, int]]:
    """How many runs are planned, those beyond the edges of ranges as far as they were made, and how many by status."""
    found: dict[tuple[Any, ...], Any] = {}  # of each run: arm, then what tells it from others, then trial or None
    shared = 0
    if places.runs.exists() or places.launched_study_file.exists():
        for path in places.runs.glob("*/result.json"):
            with contextlib.suppress(RecordsError), reading(path):
                place = _place(study, read_json(path.parent / "config.json"))
                found |= {} if place is None else {place: read_json(path)["result"]["status"]}
    else:
        for path in (places.path / "runs.csv", places.path / "trials.csv"):
            with contextlib.suppress(RecordsError), reading(path):
                rows = csv.DictReader(io.StringIO(read_bytes(path).decode(), newline=""))
                for line, row in enumerate(rows):
                    trial = int(row["trial"]) if "trial" in row else None
                    found[row["arm"], path, line, trial] = row["status"]
                    # In results of before, the searches of a cell had one first trial, which was of none of them.
                    shared += study.search.repeats - 1 if trial == 0 and not row.get("search") else 0
    trials = {arm.name: study.trials_of(arm) for arm in study.all_arms}
    beyond = sum(place[-1] is not None and place[-1] >= trials.get(place[0], 0) for place in found)
    planned = sum(study.searches_at(size) * trials[arm.name] + len(study.seeds_at(size)) for arm, size in study.cells)
    return planned + beyond - shared, dict(Counter(status for status in found.values() if status in STATUSES))


def _place(study: ResolvedStudy, content: dict[str, Any]) -> tuple[Any, ...] | None:
    """Where in the study's plan a run stands, whatever its search proposed; None for a run of other settings."""
    arm, config, trial = study.arm(content["arm"]), content["config"], content["trial"]
    size = config["data"]["train_size"]
    recipe = study.recipe_of(arm).resolved(size)
    own = Setting(arm.model, recipe if trial is None else replace(recipe, updates=study.trial_updates(recipe)))
    own = own.with_values(content["values"])
    asked = leaves({"model": to_plain(own.model), "recipe": to_plain(own.recipe)})
    data = leaves({"data": to_plain(study.data_of(arm, size))})
    # What a plan works out is None here, or, as the budget of a pre-training, in another unit.
    data |= {key: asked.pop(key) for key in list(asked) if key.startswith("recipe.start_from.")}
    worked_out = {f"recipe.start_from.pretraining.recipe.{unit}" for unit in BUDGET_UNITS}
    asked |= {key: value for key, value in data.items() if value is not None and key not in worked_out}
    last = study.trials_of(arm) + study.most_beyond(arm)
    search = config["seed"] - TUNE_SEED
    is_trial = trial is not None and trial < last and 0 <= search < study.searches_at(size)
    is_planned = config["seed"] in study.seeds_at(size) if trial is None else is_trial
    is_size = size in (study.train_sizes or (study.data_of(arm).size or size,))
    got = leaves(config)
    if not (is_planned and is_size and all(got.get(key) == value for key, value in asked.items())):
        return None
    return arm.name, size, config["seed"], trial
