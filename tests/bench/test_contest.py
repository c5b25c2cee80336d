"""Contenders in processes of their own take turns, are warmed up, and tell of their failures."""

import os
import time
from functools import partial
from types import SimpleNamespace

import psutil
import pytest

from harness.bench import contest
from harness.bench.contest import Contender, Heat, race


def sleeper(seconds):
    return partial(time.sleep, seconds)


def broken():
    raise ValueError("no such model")


def quitter():
    return partial(os._exit, 3)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(contest, "LOADED", ("torch", "harness.bench.contest"))


def heat(*contenders, threads=(1,), rounds=1, seconds=0.0):
    return Heat(
        part="step", what="sleep", batch=1, unit="s",
        contenders=contenders, threads=threads, rounds=rounds, seconds=seconds,
    )  # fmt: skip


@pytest.mark.slow
def test_the_slower_one_is_told_by_its_times():
    contenders = [Contender(name, partial(sleeper, took), rivals=["b"]) for name, took in (("a", 0.01), ("b", 0.04))]
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    found = race(heat(*contenders, threads=(1, 2), rounds=6, seconds=0.05))
    assert [(row.threads, row.rounds) for row in found] == [(1, 6), (2, 6)]
    assert all(0.01 <= row.value < row.other_value and row.low > 1 for row in found)
    left = [one for one in psutil.Process().children(recursive=True) if one.pid not in before and is_contender(one)]
    assert left == []


def is_contender(process):
    """Whether it is neither the server that contenders are forked from nor the tracker of its resources."""
    return psutil.Process().pid != process.ppid()


def test_copies_work_at_the_same_time_with_a_thread_each(monkeypatch):
    class Pool:
        def submit(self, do, make, threads, block, seconds):
            asked.append(threads)
            return SimpleNamespace(result=lambda: 0.1 * len(asked))

    for copies, found, expected in ((1, 0.1, [4]), (2, 1 / (1 / 0.2 + 1 / 0.2), [1, 1])):
        asked = []
        taken = contest._turn(Contender("one", int, copies=copies), Pool(), 4, 0.0)
        assert (taken, asked) == (pytest.approx(found), expected)


def test_everybody_takes_as_many_turns_and_goes_first_as_often(monkeypatch):
    turns = []
    monkeypatch.setattr(contest, "_turn", lambda contender, *given: turns.append(contender.name) or 1.0)
    race(heat(Contender("a", int), Contender("b", int), Contender("c", int), rounds=3))
    assert "".join(turns) == "abcbcacab"


@pytest.mark.parametrize(("make", "said"), [(broken, "no such model"), (quitter, "terminated abruptly")])
def test_a_contender_that_fails_is_named(make, said):
    with pytest.raises(RuntimeError, match=f"(?s)the poor one .*{said}"):
        race(heat(Contender("the poor one", make), seconds=0.01))
