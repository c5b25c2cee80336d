"""What a launch of a study asks and finds out before its first training."""

import contextlib
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.execution.engines import Engine, Hear, Prepared, Rehearsal, processes
from harness.execution.engines.slots import Room
from harness.execution.options import Options
from harness.execution.plan import Plan
from harness.execution.progress import Finished
from harness.records import looks
from harness.records import provenance as origin
from harness.records.data_facts import KEY, of_provenance
from harness.records.layout import StudyFolder, pretrained_folder
from harness.records.runs import RunResult
from harness.records.study_file import read_study
from harness.records.write_lock import write_lock
from harness.spec import InvalidInput, ResolvedStudy, to_plain
from harness.spec.checks import known
from harness.spec.errors import require
from harness.spec.formats import counted, words
from harness.spec.functions import files_of
from harness.spec.model import Architecture
from harness.spec.study import changed_fields
from harness.training import WorkerSettings
from harness.training.numerics import HISTORY, NUMERICS

if TYPE_CHECKING:
    from harness.execution.engines.ray_engine import Asked


def _retried(options: Options) -> tuple[str, ...]:
    return ("failed", "out_of_memory") if options.retry_out_of_memory else ("failed",)


def why_again(result: RunResult, options: Options) -> str:
    """Why a result of an earlier launch does not stand, as a sentence; empty where it does."""
    if result.status in _retried(options):
        return f"Its training ended as {words(result.status)} in an earlier launch."
    if result.numerics != NUMERICS and not options.accept_code_change:
        return f"Its result has numerics {result.numerics}, and this code has {NUMERICS}."
    return ""


def to_train_again(finished: Sequence[Finished], folder: Path, options: Options) -> list[Finished]:
    """Runs that failed earlier; those out of memory and those of other numerics only where the user says so."""
    retried = _retried(options)
    failed = [item for item in finished if item.result.status in retried]
    other = [item for item in finished if item.result.status not in retried and item.result.numerics != NUMERICS]
    if not other or options.accept_code_change:
        return failed
    if not options.set_aside:
        before = sorted({item.result.numerics for item in other})
        changes = "; ".join(text for number, text in HISTORY.items() if number > before[0])
        raise InvalidInput(
            f"{counted(len(other), 'finished run')} in {folder} {'has' if len(other) == 1 else 'have'} numerics "
            f"{', '.join(map(str, before))}, and this code has {NUMERICS}: the same training gives other numbers now "
            f"({changes or 'for no stated reason'}). Give --set-aside to keep them apart and train those runs again, "
            "or --accept-code-change to mix them (the report will say so)."
        )
    return failed + other


def prepare(plan: Plan, tried: list[Rehearsal], options: Options, hear: Hear) -> tuple[Prepared, Engine]:
    """Data, devices and models, checked where the trainings will run, and the engine asked for.

    `hear` is told of what happens while the engine's `wait` trains itself.
    """
    check_shared(plan, options)
    if options.engine == "ray":
        from harness.execution.engines.ray_engine import RayEngine

        engine = RayEngine(_asked_of_cluster(plan, tried, options))
        return engine.prepared, engine
    prepared = _prepared(plan, tried, options)
    return prepared, make_engine(plan, options, prepared.devices, hear)


def _prepared(plan: Plan, tried: list[Rehearsal], options: Options) -> Prepared:
    shared, over_cards = options.per_device is not None, options.cards_per_run > 1
    asked = plan.data, plan.surveyed, options.device, tried, options.deterministic, shared, over_cards
    if options.is_inline:
        require(
            "," not in options.device and not shared,
            "One process (engine inline, in Python the default) trains one run at a time: name one device, without "
            "--per-device, or take the engine processes.",
        )
        from harness.execution import rehearsal

        (prepared,) = rehearsal.check(*asked)
        return prepared
    return processes.prepare(*asked)


def check_shared(plan: Plan, options: Options) -> None:
    """Refuse a study whose runs cannot be trained over several cards, or not in that way."""
    if options.cards_per_run == 1:
        return
    require(
        not options.is_inline and not options.profile,
        "--cards-per-run needs a process for each card, and --profile looks at one: take the engine processes or ray, "
        "without --profile.",
    )
    for cell in plan.cells:
        start = cell.recipe.start_from
        for recipe in (cell.recipe, *([start.pretraining.recipe] if start and start.pretraining else [])):
            recipe.check_shared(options.cards_per_run)


def make_room(devices: tuple[str, ...], options: Options, runs: int) -> Room:
    """Room on `devices` for a study of so many runs, as the user asks for it. Raises `InvalidInput` for too few."""
    kind, workers, each = devices[0].partition(":")[0], options.workers, options.cards_per_run
    there = len(devices) if kind == "cuda" else 0
    require(
        each in range(1, max(there, 1) + 1) or (each > 1 and options.device == "cpu"),
        f"--cards-per-run is {each}, and of cards there are {there}. Ask for fewer; --device cpu tries it with "
        "processes in the place of cards.",
    )
    if options.is_inline:
        return Room(devices=devices[:1])
    if kind == "cuda":
        shared = options.per_device or math.ceil((workers or 1) * each / len(devices))
        return Room(devices=devices, per_device=shared, per_run=each, most=min(workers or runs, runs))
    usual = max(1, origin.available_cores() // each) if kind == "cpu" else 1
    return Room(devices=devices, per_device=min(workers or usual, runs))


def make_engine(plan: Plan, options: Options, devices: tuple[str, ...], hear: Hear) -> Engine:
    """The engine asked for, on the `devices` that `prepare` has found."""
    room = make_room(devices, options, plan.runs)
    is_cuda = devices[0].startswith("cuda")
    settings = _settings(
        options,
        # A process of its own is shown the cards of its run alone, see `slots`; this one sees them all.
        device="cuda" if is_cuda and not options.is_inline else devices[0],
        cards=devices[:1] if is_cuda and options.is_inline else (),
        threads=max(1, origin.available_cores() // (room.capacity() * options.cards_per_run)),
    )
    if options.is_inline:
        from harness.execution.engines.worker import InlineEngine

        return InlineEngine(settings, hear)
    ranks, patience = options.cards_per_run, options.patience_seconds
    return processes.ProcessEngine(settings, room, ranks=ranks, patience_seconds=patience)


def _settings(options: Options, **where: Any) -> WorkerSettings:
    return WorkerSettings(
        deterministic=options.deterministic,
        checkpoint_seconds=options.checkpoint_seconds,
        own_process=not options.is_inline,
        profile=options.profile,
        pretrained=pretrained_folder(options.results),
        **where,
    )


def _asked_of_cluster(plan: Plan, tried: list[Rehearsal], options: Options) -> "Asked":
    from harness.execution.engines.ray_engine import Asked, token_for

    hashes = {cell.data: cell.data_hash for cell in plan.cells}
    hashes |= {cell.few_shot.data: cell.few_shot_hash for cell in plan.cells if cell.few_shot is not None}
    models: list[Architecture] = [cell.arm.model for cell in plan.cells]
    for cell in plan.cells:
        start = cell.recipe.start_from
        if start is not None and (made := start.pretraining) is not None:
            hashes[made.data] = known(made.data_hash)
            models.append(known(made.model))
    places = [model.place for model in models if model.place is not None]
    sources = [spec.source.split(":") for spec in hashes]
    places += [parts[1] for parts in sources if parts[0] == "python" and parts[1].endswith(".py")]
    return Asked(
        address=options.ray_address or os.environ.get("RAY_ADDRESS") or "local",
        local_cores=origin.available_cores(),
        token=token_for(options.results),
        device=options.device,
        per_device=options.per_device,
        cards_per_run=options.cards_per_run,
        workers=options.workers,
        runs=plan.runs,
        patience_seconds=options.patience_seconds,
        settings=_settings(options),
        code=tuple(files_of(map(Path, places))),
        data=plan.data,
        hashes=hashes,
        surveyed=plan.surveyed,
        tried=tried,
    )


def register(study: ResolvedStudy, folder: Path) -> str:
    """Keep what a study announces, before its first run; where results stand there already, first a look at these.

    Returns the digest of what was announced at the first launch.
    """
    with write_lock(StudyFolder(folder).write_lock):
        ledger = looks.read_ledger(folder)
        if ledger.registered is not None:
            return ledger.registered.preregistered
        if not ledger:
            from harness.analysis.looks import earlier_look  # these load pandas and scipy, as `plan` need not
            from harness.records.run_table import load_records

            with contextlib.suppress(InvalidInput):  # no tables, or none that can be read
                looks.append(folder, earlier_look(load_records(folder)))
        entry = looks.registration(study, origin.git_state())
        looks.append(folder, entry)
        return entry.preregistered


def provenance_of(plan: Plan, folder: Path, options: Options, prepared: Prepared | None) -> dict[str, Any]:
    """Where the results come from; carries on what earlier launches of the same study have left here."""
    earlier: dict[str, Any] = {}
    data = prepared.data if prepared else ()
    with contextlib.suppress(InvalidInput):
        before, found = read_study(StudyFolder(folder).work)
        if {field.partition(".")[0] for field in changed_fields(before, plan.study)} <= {"seeds", "search"}:
            earlier = found
        if prepared is None:
            hashes = {cell.data_hash for cell in plan.cells}
            data = tuple(facts for facts in of_provenance(found) if facts.data_hash in hashes)
    made = {
        "created": earlier.get("created", time.strftime("%Y-%m-%d %H:%M:%S %z")),
        "command": options.command,
        "wall_seconds": earlier.get("wall_seconds", 0.0),
        "patchbench_version": origin.versions()["patchbench"],
        "code_change_accepted": options.accept_code_change or earlier.get("code_change_accepted", False),
        "deterministic": options.deterministic,
    }
    made |= {"set_aside": earlier["set_aside"]} if "set_aside" in earlier else {}
    return made | ({KEY: to_plain(data)} if data else {})
