"""Which devices are set aside, by how runs end on which of them."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.execution.engines import Fault, Outcome
from harness.execution.engines.watch import Watch, last_line
from harness.execution.engines.worker import fault_of, own_card
from harness.records.runs import RunResult
from harness.training import Member, WorkerSettings

DEVICES = ("cuda:0", "cuda:1", "cuda:2")
LOST = Fault(reason="CUDA error: uncorrectable ECC error encountered", is_sure=True)
CROWDED = Fault(reason="no memory is left (other processes hold 40.0 GiB of cuda:0)", is_sure=False)


def end(
    watch: Watch, run: str, *slot: str, status: str = "", fault: Fault | None = None, **more: Any
) -> dict[str, str]:
    """Tell of the end of a run's attempt, by default one that failed; the devices set aside now, and why."""
    result = RunResult(digest=run, status=status) if status else None  # type: ignore[arg-type]
    told = {"error": "Traceback\nRuntimeError: misaligned address"} | more
    outcome = Outcome(run=SimpleNamespace(digest=run), result=result, slot=slot, **told)  # type: ignore[arg-type]
    return {event.device: event.reason for event in watch.ended(outcome, fault)}


def test_a_device_whose_error_says_so_is_set_aside_at_once():
    watch = Watch()
    assert end(watch, "a", "cuda:1", fault=LOST) == {"cuda:1": LOST.reason}
    assert end(watch, "b", "cuda:1", fault=LOST) == {}, "told of once"
    assert watch.aside == {"cuda:1": LOST.reason}
    assert end(watch, "c", "cuda:0", "cuda:2", fault=LOST).keys() == {"cuda:0", "cuda:2"}


def test_of_a_run_over_several_cards_the_one_that_failed_is_set_aside_and_the_others_stay():
    watch = Watch()
    fault = replace(LOST, device="cuda:2")
    assert end(watch, "a", "cuda:0", "cuda:2", fault=fault) == {"cuda:2": LOST.reason}
    assert watch.failed_on["a"] == {"cuda:2"}


def test_each_process_of_a_run_speaks_of_its_own_card(tmp_path):
    settings = WorkerSettings(cards=("cuda:3", "cuda:5"), member=Member(rank=1, size=2, meeting=tmp_path))
    found = fault_of(RuntimeError(LOST.reason), own_card(settings))
    assert found == replace(LOST, device="cuda:5")
    assert own_card(replace(settings, member=None)) == "cuda:3"
    assert own_card(WorkerSettings()) == ""


def test_a_device_that_others_crowd_is_set_aside_when_the_run_completes_elsewhere():
    watch = Watch()
    assert end(watch, "a", "cuda:0", fault=CROWDED) == {}
    assert end(watch, "a", "cuda:1", status="out_of_memory") == {}, "the run is too large for any"
    assert end(watch, "b", "cuda:0", fault=CROWDED) == {}
    assert end(watch, "b", "cuda:1", status="completed") == {
        "cuda:0": f"{CROWDED.reason} (elsewhere the same run completed)"
    }


def test_two_runs_in_a_row_that_fail_on_a_device_and_complete_elsewhere_set_it_aside():
    watch = Watch()
    for run in "ab":
        assert end(watch, run, "cuda:0") == {}
    assert end(watch, "a", "cuda:1", status="completed") == {}
    assert end(watch, "b", "cuda:2", status="diverged") == {
        "cuda:0": "RuntimeError: misaligned address (elsewhere the same run completed)"
    }


def test_a_result_in_between_clears_a_device():
    watch = Watch()
    end(watch, "a", "cuda:0")
    end(watch, "c", "cuda:0", status="completed")
    end(watch, "b", "cuda:0")
    for run in "ab":
        end(watch, run, "cuda:1", status="completed")
    assert watch.aside == {}


def test_runs_that_fail_everywhere_blame_no_device():
    watch = Watch()
    for run in "abc":
        for device in DEVICES:
            assert end(watch, run, device) == {}
    assert watch.failed_on["a"] == set(DEVICES)


@pytest.mark.parametrize("more", [{"interrupted": True}, {"error": "The worker process ended with signal SIGKILL (of"}])
def test_no_device_is_blamed_for_what_a_signal_ended(more):
    watch = Watch()
    for run in "abc":
        end(watch, run, "cuda:0", **more)
        end(watch, run, "cuda:1", status="completed")
    assert watch.aside == {}
    assert not watch.failed_on["a"]


endings = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from(DEVICES), st.sampled_from(["", "completed", "out_of_memory"]))
)


@given(endings)
def test_a_device_without_failures_is_never_set_aside_and_no_failure_is_blamed_without_a_completion(history):
    watch = Watch()
    for run, device, status in history:
        end(watch, run, device, status=status)
    completed = {run for run, _, status in history if status == "completed"}
    for device in watch.aside:
        assert len({run for run, on, status in history if on == device and not status} & completed) >= 2


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("", "no reason was given"),
        ("Traceback\n  x\nValueError: wrong shape", "ValueError: wrong shape"),
        ("Traceback\ntorch.AcceleratorError: CUDA error: unknown error\nCompile with `TORCH_USE_CUDA_DSA` to ...\n",
         "torch.AcceleratorError: CUDA error: unknown error"),
        ("No progress for 600 s; the stacks are in log.txt.", "No progress for 600 s; the stacks are in log.txt."),
    ],
)  # fmt: skip
def test_an_error_is_told_by_the_line_that_names_it(error, line):
    assert last_line(error) == line
