"""A study on several cards: which runs go where, what becomes of those that fail, and what is kept and told of it.

There may be no cards here. What workers do is acted out in this process, or they are real and take a processor as
two cards, which they tell apart by what they are shown of them.
"""

import json
import multiprocessing
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from tiny_studies import Witness, tiny_study

from harness.execution import rehearsal, runner
from harness.execution.engines import (
    Fault,
    Happening,
    Outcome,
    OutOfMemory,
    Prepared,
    Rehearsal,
    SetAside,
    processes,
    worker,
)
from harness.execution.engines.slots import VISIBLE, Room
from harness.execution.engines.worker import fault_of
from harness.execution.launch import make_room
from harness.execution.overrides import resolve_study
from harness.execution.plan import make_plan
from harness.execution.process import Call, CallFailedError
from harness.execution.runner import Options, run_study
from harness.records.layout import StudyFolder
from harness.records.runs import RunFolder, RunResult
from harness.records.study_file import read_study
from harness.spec import InvalidInput, Run
from harness.training import WorkerSettings, perform
from harness.training.device import Placement, device_fault, devices, require_cards
from harness.training.state import Crowded

CARDS = ("cuda:0", "cuda:1", "cuda:2")
CPU = Placement(device=torch.device("cpu"), autocast_dtype=None)
ECC = "CUDA error: uncorrectable ECC error encountered"
LOST = [Fault(reason=ECC, is_sure=True), CallFailedError(f"Traceback\nRuntimeError: {ECC}\nCompile with DSA")]
BROKEN = [CallFailedError("Traceback\nRuntimeError: CUDA error: misaligned address")]
Act = Callable[[Run, WorkerSettings], list[Any] | None]


@pytest.fixture
def act_out(monkeypatch: pytest.MonkeyPatch, processes: Options, witness: Witness) -> Callable[..., Path]:
    """Runs `tiny_study()` on cards; a worker sends what `act(run, settings)` gives, None for a completed run."""

    def run(act: Act, cards: tuple[str, ...] = CARDS, **options: Any) -> Path:
        class Acted(Call):
            def __init__(self, function: str, run: Run, folder: RunFolder, settings: WorkerSettings) -> None:
                self.pipe, there = multiprocessing.Pipe()
                self.process: Any = SimpleNamespace(exitcode=0, join=lambda _: None, kill=lambda: None)
                events = act(run, settings)
                if events is None:
                    folder.write_result(RunResult(digest=run.digest, status="completed"))
                for event in events or [3]:
                    there.send(event)
                there.close()

        monkeypatch.setattr("harness.execution.engines.processes.Call", Acted)
        monkeypatch.setattr("harness.execution.engines.processes.prepare", lambda *_: Prepared(devices=cards, data=()))
        monkeypatch.setattr(runner, "Mirror", MagicMock())
        monkeypatch.setattr(runner, "keep_best", lambda *asked: None)
        monkeypatch.setattr(runner, "export_models", lambda *asked: None)
        monkeypatch.setattr(runner.Runner, "_write_report", lambda self: None)
        return run_study(tiny_study(), replace(processes, workers=None, **options), witness)

    return run


def test_every_card_gets_runs_and_a_worker_no_other_card(act_out, witness):
    seen = Counter[tuple[str, ...]]()
    folder = act_out(lambda run, settings: seen.update([settings.cards]))
    assert seen == {("cuda:0",): 2, ("cuda:1",): 2, ("cuda:2",): 2}
    assert len(witness.results) == 6
    assert (witness.aside, witness.notes) == ({}, [])
    assert "set_aside" not in read_study(StudyFolder(folder).work)[1]


def test_a_card_that_is_lost_costs_no_attempt_and_is_named(act_out, witness):
    tried = Counter[str]()

    def act(run: Run, settings: WorkerSettings) -> list[Any] | None:
        tried[run.digest] += 1
        return LOST if settings.cards != ("cuda:2",) else None

    folder = act_out(act)
    assert [result.status for result in witness.results] == ["completed"] * 6
    assert witness.aside == {"cuda:0": ECC, "cuda:1": ECC}
    assert sum("goes elsewhere: it failed on cuda:" in note and ECC in note for note in witness.notes) == 2
    assert not any("attempt" in note for note in witness.notes)
    assert max(tried.values()) == 2
    assert read_study(StudyFolder(folder).work)[1]["set_aside"] == f"cuda:0 ({ECC}); cuda:1 ({ECC})"


def test_without_any_card_left_the_study_stops_and_names_them(act_out, witness, processes):
    left = [None, None]
    with pytest.raises(InvalidInput) as caught:
        act_out(lambda run, settings: left.pop() if left else LOST)
    assert all(f"{card} ({ECC})" in str(caught.value) for card in CARDS)
    assert "the same command goes on" in str(caught.value)
    assert len(witness.results) == 2
    act_out(lambda run, settings: None)
    assert len(witness.results) == 6, "what was trained is kept, and the rest is trained"
    assert "cuda:1" in read_study(StudyFolder(processes.results / "tiny" / "smoke").work)[1]["set_aside"]


def test_a_card_on_which_runs_fail_that_complete_elsewhere_is_set_aside(act_out, witness):
    act_out(lambda run, settings: BROKEN if settings.cards == ("cuda:1",) else None)
    assert [result.status for result in witness.results] == ["completed"] * 6
    assert witness.aside.keys() == {"cuda:1"}
    assert sum("attempt 1 of 3 failed on cuda:1: RuntimeError: CUDA error" in note for note in witness.notes) == 2


def test_failures_on_a_card_that_is_set_aside_afterwards_count_no_more(act_out, witness):
    tried = Counter[str]()

    def act(run: Run, settings: WorkerSettings) -> list[Any] | None:
        tried[run.digest] += 1
        if run.digest == next(iter(tried)):  # once on cuda:0, then on cuda:1 until it completes
            return BROKEN if tried[run.digest] < 4 else None
        return LOST if settings.cards == ("cuda:0",) else None

    act_out(act, cards=CARDS[:2])
    assert [result.status for result in witness.results] == ["completed"] * 6
    assert witness.aside.keys() == {"cuda:0"}
    assert max(tried.values()) == 4


def test_a_run_that_fails_everywhere_is_given_up_and_no_card_blamed(act_out, witness):
    act_out(lambda run, settings: BROKEN if run.config.seed == 1 else None)
    assert Counter(result.status for result in witness.results) == {"completed": 4, "failed": 2}
    assert witness.aside == {}


def test_a_run_without_room_beside_others_goes_elsewhere_and_is_told_to_stay_at_last(act_out, witness):
    told = Counter[bool]()

    def act(run: Run, settings: WorkerSettings) -> list[Any] | None:
        told[settings.may_move] += 1
        crowded = Fault(reason="others hold 40.0 GiB", is_sure=False), CallFailedError("Crowded: others hold 40.0 GiB")
        return list(crowded) if settings.cards == ("cuda:0",) else None

    act_out(act, cards=CARDS[:2])
    assert [result.status for result in witness.results] == ["completed"] * 6
    assert witness.aside.keys() == {"cuda:0"}
    assert told[False] > 0
    assert not any("attempt" in note for note in witness.notes)


def test_a_run_may_take_longer_before_its_first_update(monkeypatch, tmp_path):
    here, there = multiprocessing.Pipe()
    process = SimpleNamespace(exitcode=0, pid=None, join=lambda _: None, kill=lambda: None)
    ended: list[str] = []
    engine = processes.ProcessEngine(WorkerSettings(device="cpu"), Room(devices=("cpu",)), patience_seconds=100.0)
    monkeypatch.setattr(engine, "_end_stalled", lambda worker: ended.append("now") or [])
    call: Any = SimpleNamespace(pipe=here, process=process, hear=here.recv, close=lambda: None)
    run = make_plan(tiny_study()).cells[0].confirm(0, {})
    worker = engine._workers[run.digest] = processes._Worker(run, RunFolder(tmp_path), ("cpu",), [call], None)
    worker.quiet = 299.0
    engine.wait(0)
    assert ended == []
    worker.quiet = 301.0
    engine.wait(0)
    assert ended == ["now"]
    there.send(1)
    engine.wait(0)
    assert worker.quiet == 0.0
    worker.quiet = 101.0
    engine.wait(0)
    assert ended == ["now", "now"]


def test_a_run_that_is_ended_for_want_of_progress_names_the_option(monkeypatch, tmp_path):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    engine = processes.ProcessEngine(WorkerSettings(device="cpu"), Room(devices=("cpu",)), patience_seconds=100.0)
    run = make_plan(tiny_study()).cells[0].confirm(0, {})
    engine._workers[run.digest] = processes._Worker(run, RunFolder(tmp_path), ("cpu",), [], None)
    (outcome,) = engine._end_stalled(engine._workers[run.digest])
    assert isinstance(outcome, Outcome)
    assert "No progress for 300 s, longer than --patience allows; the stacks are in" in outcome.error


@pytest.mark.parametrize("fits", [True, False])
def test_a_run_without_room_beside_its_neighbours_has_a_card_for_itself(act_out, witness, monkeypatch, fits):
    large, tried = set[str](), list[tuple[str, bool]]()
    lack = OutOfMemory(reason="no memory is left")

    def act(run: Run, settings: WorkerSettings) -> list[Any] | None:
        large.update({run.digest} if not large else ())
        if run.digest not in large:
            return None
        tried.append((settings.cards[0], settings.may_move))
        if settings.may_move:
            return [Fault(reason="others hold 40.0 GiB", is_sure=False), CallFailedError("Crowded: others hold it")]
        return None if fits else [lack]

    start = processes.ProcessEngine.start

    def watched(engine: Any, run: Run, folder: RunFolder) -> None:
        start(engine, run, folder)
        if tried and tried[-1][1] is False and run.digest in large:
            (slot,) = (worker.slot for worker in engine._workers.values() if worker.run is run)
            assert sum(worker.slot == slot for worker in engine._workers.values()) == 1

    monkeypatch.setattr(processes.ProcessEngine, "start", watched)
    act_out(act, cards=CARDS[:1], per_device=2)
    assert Counter(result.status for result in witness.results) == (
        {"completed": 6} if fits else {"completed": 5, "out_of_memory": 1}
    )
    assert tried == [("cuda:0", True), ("cuda:0", False)]
    assert witness.aside == {}
    assert any("waits for a card that it has for itself: it failed on" in note for note in witness.notes)
    assert not any("goes elsewhere" in note for note in witness.notes)
    assert not any("attempt" in note for note in witness.notes)


def test_beside_a_run_that_has_a_card_for_itself_no_other_begins(tmp_path):
    engine = processes.ProcessEngine(WorkerSettings(device="cuda"), Room(devices=CARDS[:2], per_device=2, most=4))
    cell = make_plan(tiny_study()).cells[0]
    runs = [cell.confirm(seed, {}) for seed in range(3)]
    engine._workers["a"] = processes._Worker(runs[0], RunFolder(tmp_path), ("cuda:0",), [], None, is_alone=True)
    assert engine._slot_for(runs[1]) == ("cuda:1",)
    engine._workers["b"] = processes._Worker(runs[1], RunFolder(tmp_path), ("cuda:1",), [], None)
    assert engine._slot_for(runs[2]) == ("cuda:1",)
    engine._crowded.add(runs[2].digest)
    assert not engine.takes(runs[2])
    engine._workers.pop("b")
    assert engine._slot_for(runs[2]) == ("cuda:1",)


@pytest.mark.parametrize(
    ("found", "asked", "capacity", "per_device"),
    [
        (CARDS, {}, 3, 1),
        (CARDS, {"per_device": 2}, 6, 2),
        (CARDS, {"workers": 2}, 2, 1),
        (CARDS, {"workers": 4}, 4, 2),
        (CARDS, {"workers": 4, "per_device": 1}, 3, 1),
        (CARDS, {"per_device": 9}, 20, 9),
        (CARDS, {"engine": "inline"}, 1, 1),
        (("cuda:0",), {"workers": 2}, 2, 2),
        (("cpu",), {}, 1, 1),
        (("cpu",), {"workers": 3}, 3, 3),
        (("cpu",), {"workers": 99}, 20, 20),
        (("mps",), {}, 1, 1),
    ],
)
def test_the_room_for_twenty_runs(found, asked, capacity, per_device):
    room = make_room(found, Options(results=Path("results"), **asked), runs=20)
    assert (room.capacity(), room.per_device) == (capacity, per_device)


@pytest.fixture
def three_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("three_cards")
def test_devices_that_are_named():
    assert devices("auto") == devices("cuda") == CARDS
    assert devices("cuda:2,cuda:0", shared=True) == ("cuda:2", "cuda:0")
    assert devices("cpu") == ("cpu",)


@pytest.mark.usefixtures("three_cards")
@pytest.mark.parametrize(
    ("asked", "shared", "rule"),
    [
        ("cuda:9", False, "'cuda:9' is not there; valid on this machine: auto, cpu, cuda, cuda:0, cuda:1, cuda:2"),
        ("cuda:0,", False, "'' is not there"),
        ("cuda:0,cuda:0", False, "'cuda:0' is named twice"),
        ("cpu,cuda:0", False, "'cpu,cuda:0' mixes devices; several must all be cards"),
        ("cuda,cuda:1", False, "mixes devices"),
        ("cpu", True, "'cpu' is none: there --workers says"),
    ],
)
def test_devices_that_cannot_be(asked, shared, rule):
    with pytest.raises(InvalidInput, match=rule):
        devices(asked, shared=shared)


@pytest.mark.usefixtures("three_cards")
def test_cards_that_have_gone_are_a_fault_of_theirs():
    require_cards(WorkerSettings(device="cuda", cards=CARDS))
    with pytest.raises(RuntimeError) as caught:
        require_cards(WorkerSettings(device="cuda", cards=(*CARDS, "cuda:3")))
    found = fault_of(caught.value)
    assert found is not None
    assert found.is_sure


@pytest.fixture
def tried_on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, ...]]]:
    """Prepares a study on CARDS of which the `broken` ones do not work; gives which cards each process was shown."""

    def prepared(*broken: str) -> list[tuple[str, ...]]:
        shown = []

        class Checked(Call):
            def __init__(self, function: str, cards: tuple[str, ...], *asked: Any) -> None:
                self.pipe, there = multiprocessing.Pipe()
                self.process: Any = SimpleNamespace(exitcode=0, join=lambda _: None, kill=lambda: None)
                shown.append(cards)
                monkeypatch.setattr(rehearsal, "devices", lambda asked, shared: ("cuda:0",) if cards else CARDS)
                monkeypatch.setattr(rehearsal, "choose", choose_on((cards or CARDS)[0]))
                try:
                    worker.check(there, cards, *asked)
                    there.send(None)
                except InvalidInput as error:
                    there.send(error)

        def choose_on(card: str) -> Callable[..., Any]:
            def choose(*asked: Any, **more: Any) -> Any:
                if card in broken:
                    raise torch.cuda.DeferredCudaCallError(f"CUDA call failed lazily with error: {ECC}\nand a stack")
                return CPU

            return choose

        monkeypatch.setattr("harness.execution.engines.processes.Call", Checked)
        monkeypatch.setattr(worker, "show_only", lambda shown: None)
        cell = make_plan(tiny_study()).cells[0]
        model = Rehearsal(arm=cell.arm.name, config=cell.confirm(0, {}).config, facts=cell.facts)
        assert processes.prepare((), (), "auto", [model]).devices == CARDS
        return shown

    return prepared


def test_models_are_tried_on_a_card_that_works(tried_on):
    assert tried_on() == [()]
    assert tried_on("cuda:0") == [(), ("cuda:1",)]
    assert tried_on("cuda:0", "cuda:1") == [(), ("cuda:1",), ("cuda:2",)]


def test_where_no_card_works_all_are_named_and_no_arm(tried_on):
    with pytest.raises(
        InvalidInput, match=r"^No device works: cuda:0 .*ECC.*; cuda:1 .*; cuda:2 .*free these"
    ) as caught:
        tried_on(*CARDS)
    assert "Arm" not in str(caught.value)


def test_in_this_process_the_card_is_named_and_no_arm(monkeypatch, inline):
    monkeypatch.setattr(rehearsal, "devices", lambda asked, shared: ("cuda:0",))
    monkeypatch.setattr(rehearsal, "choose", lambda *asked, **more: CPU)
    monkeypatch.setattr(rehearsal, "_try", MagicMock(side_effect=RuntimeError(ECC)))
    with pytest.raises(InvalidInput, match=r"^cuda:0 does not work: .*ECC.* --device"):
        run_study(tiny_study(), inline, Witness())


@pytest.mark.parametrize("is_broken", [True, False])
def test_in_this_process_an_error_after_which_cuda_fails_ends_the_study(monkeypatch, tmp_path, is_broken):
    told = RuntimeError("CUDA error: an illegal memory access was encountered")
    monkeypatch.setattr(worker, "perform", MagicMock(side_effect=told))
    monkeypatch.setattr(torch.cuda, "synchronize", MagicMock(side_effect=told if is_broken else None))
    engine = worker.InlineEngine(WorkerSettings(device="cuda:0"), lambda events: None)
    run = make_plan(tiny_study()).cells[0].confirm(0, {})
    engine.start(run, RunFolder(tmp_path))
    if is_broken:
        with pytest.raises(
            InvalidInput, match=r"no longer works in this process: .*illegal memory .* engine processes"
        ):
            engine.wait(0)
    else:
        (outcome,) = engine.wait(0)
        assert isinstance(outcome, Outcome)
        assert "illegal memory access" in outcome.error


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: an illegal memory access"), ValueError(ECC)])
def test_an_error_of_the_program_is_no_fault_of_a_card(error):
    assert device_fault(error) is None


def test_of_an_error_of_a_card_the_line_is_told_that_says_so():
    assert device_fault(RuntimeError(f"first\n{ECC}\nCompile with `TORCH_USE_CUDA_DSA`")) == ECC


@pytest.mark.parametrize("may_move", [False, True])
def test_a_lack_of_memory_says_what_others_hold_and_moves_where_it_may(monkeypatch, may_move):
    placement: Any = SimpleNamespace(bytes_of_others=lambda: 40 * 2**30)
    settings = WorkerSettings(cards=("cuda:1",), may_move=may_move)
    told = "no memory (other processes hold 40.0 GiB of cuda:1)"
    if may_move:
        with pytest.raises(Crowded) as caught:
            perform._lack_of_memory(MemoryError("no memory"), placement, settings)
        assert fault_of(caught.value) == Fault(reason=told, is_sure=False)
    else:
        assert perform._lack_of_memory(MemoryError("no memory"), placement, settings) == told


TEXT = f'''
"""Do cards matter?"""
import os
from harness.spec import Arm, DataSpec, Module, Recipe, ResNetSpec, Scale, Study

def linear(image_size, channels, classes):
    from torch import nn
    if os.environ.get("{VISIBLE}") == "5":
        raise RuntimeError("{ECC}")
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, classes))

SMOKE = Scale(
    data=DataSpec(source="digits", train_size=60, validation_size=40),
    recipe=Recipe(updates=4, batch_size=8, evaluations=1, precision="fp32"),
    baseline=Arm("ResNet-8", ResNetSpec(width=4)), arms=(Arm("linear", Module(build=linear)),), seeds=(0, 1),
)
STUDY = Study(question="Does it learn?", source="none", factor="model", scales={{"smoke": SMOKE}})
'''


@pytest.mark.slow
def test_a_real_worker_is_shown_its_card_and_what_fails_there_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "linear.py").write_text(TEXT)
    (cell,) = (cell for cell in make_plan(resolve_study(str(tmp_path / "linear.py"), "smoke", ())).cells[1:])
    runs = {run.digest: run for run in (cell.confirm(seed, {}) for seed in (0, 1))}
    engine = processes.ProcessEngine(WorkerSettings(device="cpu"), Room(devices=("cpu:1", "cpu:5")))
    happened, waiting = list[Happening](), list(runs.values())
    try:
        while waiting or engine.active:
            for run in [run for run in waiting if engine.takes(run)]:
                if engine.takes(run):
                    engine.start(run, RunFolder(tmp_path / run.digest))
                    waiting.remove(run)
            new = engine.wait(0.5)
            waiting += [event.run for event in new if isinstance(event, Outcome) and event.result is None]
            happened += new
    finally:
        engine.close()
    assert [event for event in happened if isinstance(event, SetAside)] == [SetAside(device="cpu:5", reason=ECC)]
    ends = [event for event in happened if isinstance(event, Outcome)]
    assert sorted((end.slot, end.is_excused) for end in ends) == [(("cpu:1",), False)] * 2 + [(("cpu:5",), True)]
    results = [end.result for end in ends if end.result is not None]
    assert [(result.status, result.environment["cards"]) for result in results] == [("completed", "cpu:1")] * 2
    assert {result.digest for result in results} == runs.keys()
    assert VISIBLE not in os.environ
    assert "on cpu:1, fp32" in (tmp_path / results[0].digest / "log.txt").read_text()


@pytest.mark.slow
def test_cuda_does_not_start_where_workers_are_forked_from(repository: Path) -> None:
    """What the server of workers loads before it forks would be the last moment to choose their cards."""
    code = (
        "import torch\n"
        "def started(*given): raise AssertionError('CUDA starts')\n"
        "torch._C._cuda_init = torch._C._cuda_getDeviceCount = torch.cuda._lazy_init = started\n"
        "import harness.execution.engines.worker, json\n"
        "print(json.dumps(torch.cuda.is_initialized()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False
