"""What a launch of a study asks and finds out before its first training."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.execution.engines import Engine, Prepared, Rehearsal
from harness.execution.plan import Plan
from harness.execution.progress import Finished
from harness.records import data_facts
from harness.records import provenance as origin
from harness.records.data_facts import DataFacts
from harness.records.layout import StudyFolder
from harness.records.study_file import read_study
from harness.spec import InvalidInput, ResolvedStudy, changed_fields
from harness.spec.plural import counted
from harness.training.numerics import HISTORY, NUMERICS
from harness.training.settings import WorkerSettings


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a study is carried out; nothing here changes what it asks."""

    results: Path
    engine: str = "processes"
    workers: int | None = None
    """Runs at the same time; None for one per processor core on a CPU (small models leave a second thread half idle, so
    two trainings with a thread each get more done than one with two), one on a GPU."""
    device: str = "auto"
    deterministic: bool = False
    accept_code_change: bool = False
    """Keep results of other training code beside new ones; the report says so."""
    set_aside: bool = False
    """Move results of other training code out of the way and train those runs again."""
    checkpoint_seconds: float = 30.0
    patience_seconds: float = 600.0
    """A training without progress for so long is ended and tried again; in processes of their own only."""
    retry_out_of_memory: bool = False
    """Train again what ran out of memory: there may be more of it now. A failed run is always tried again."""
    profile: bool = False
    """Leave a table of the costliest operations and a trace with every run that is trained."""
    command: str = ""

    @property
    def is_inline(self) -> bool:
        """Whether everything is done in this process."""
        return self.engine == "inline"


def to_train_again(finished: Iterable[Finished], folder: Path, options: Options) -> list[Finished]:
    """Runs that failed earlier; those out of memory and those of other numerics only where the user says so."""
    retried = ("failed", "out_of_memory") if options.retry_out_of_memory else ("failed",)
    failed, other = [], []
    for item in finished:
        if item.result.status in retried:
            failed.append(item)
        elif item.result.numerics != NUMERICS:
            other.append(item)
    if not other or options.accept_code_change:
        return failed
    if not options.set_aside:
        before = sorted({item.result.numerics for item in other})
        changes = "; ".join(text for number, text in HISTORY.items() if number > before[0])
        raise InvalidInput(
            f"{counted(len(other), 'finished run')} in {folder} {'has' if len(other) == 1 else 'have'} numerics "
            f"{', '.join(map(str, before))}, and this code has {NUMERICS}: the same training gives other numbers "
            f"now{f' ({changes})' if changes else ''}. "
            "Give --set-aside to keep them apart and train those runs again, or --accept-code-change to mix them "
            "(the report will say so)."
        )
    return failed + other


def prepare(plan: Plan, tried: list[Rehearsal], options: Options) -> Prepared:
    """Data, device and models, checked where the trainings will run."""
    asked = plan.data, plan.surveyed, options.device, plan.study.recipe.precision
    if options.is_inline:
        from harness.execution import rehearsal

        prepared = rehearsal.prepare(*asked)
        rehearsal.rehearse(tried, options.device, deterministic=options.deterministic)
        return prepared
    from harness.execution.engines import processes

    return processes.prepare(*asked, tried, deterministic=options.deterministic)


def make_engine(plan: Plan, options: Options, device: str) -> Engine:
    """The engine asked for; `device` is the one that `prepare` has found."""
    cores = origin.available_cores()
    if options.is_inline:
        from harness.execution.engines.inline import InlineEngine

        return InlineEngine(_settings(options, options.device, threads=cores))
    from harness.execution.engines.processes import ProcessEngine

    workers = min(options.workers or (cores if device == "cpu" else 1), plan.runs)
    settings = _settings(options, device, threads=max(1, cores // workers))
    return ProcessEngine(settings, workers=workers, patience_seconds=options.patience_seconds)


def _settings(options: Options, device: str, *, threads: int) -> WorkerSettings:
    return WorkerSettings(
        device=device,
        threads=threads,
        deterministic=options.deterministic,
        checkpoint_seconds=options.checkpoint_seconds,
        own_process=not options.is_inline,
        profile=options.profile,
    )


def tell_of_data(data: Iterable[DataFacts], say: Callable[[str], object]) -> None:
    """What is known of the data, with what makes a result on it less than it seems."""
    for facts in data:
        for line in (*facts.in_words(), *(f"note: {caution}" for caution in facts.cautions())):
            say(line)


def tell_of_libraries(finished: Iterable[Finished], say: Callable[[str], object]) -> None:
    """Say so where finished runs were made with another torch than what is still to be trained."""
    now = origin.versions()["torch"]
    made = Counter(
        str(item.result.environment["torch"]) for item in finished if item.result.environment.get("torch", now) != now
    )
    for version, number in sorted(made.items()):
        say(
            f"{counted(number, 'finished run')} {'was' if number == 1 else 'were'} made with torch {version}; the "
            f"others will be with {now}, whose numbers may differ in their last digits. The report's provenance "
            "names both."
        )


def known_data(plan: Plan, folder: Path) -> tuple[DataFacts, ...]:
    """What an earlier launch has found out about the data of a plan; nothing where it is of other data."""
    hashes = {cell.data.source: cell.data_hash for cell in plan.cells}
    asked = [(spec.source, hashes[spec.source], spec.validation_size) for spec in plan.surveyed]
    for place in (StudyFolder(folder).work, folder):
        with contextlib.suppress(InvalidInput):
            facts = data_facts.of_provenance(read_study(place)[1])
            if [(found.source, found.data_hash, found.validation) for found in facts] == asked:
                return facts
    return ()


def provenance_of(study: ResolvedStudy, folder: Path, options: Options) -> dict[str, Any]:
    """Where the results come from; carries on what earlier launches of the same study have left here."""
    earlier: dict[str, Any] = {}
    with contextlib.suppress(InvalidInput):
        before, found = read_study(StudyFolder(folder).work)
        same = {field.partition(".")[0] for field in changed_fields(before, study)} <= {"seeds", "search"}
        earlier = found if same else {}
    return {
        "created": earlier.get("created", time.strftime("%Y-%m-%d %H:%M:%S %z")),
        "command": options.command,
        "wall_seconds": earlier.get("wall_seconds", 0.0),
        "patchbench_version": origin.versions()["patchbench"],
        "code_change_accepted": options.accept_code_change or earlier.get("code_change_accepted", False),
        "deterministic": options.deterministic,
    }
