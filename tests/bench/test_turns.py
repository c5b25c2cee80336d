"""Contenders in processes of their own take turns, are warmed up, and tell of their failures."""

import os
import time
from functools import partial

import pytest

from harness.bench import turns
from harness.bench.turns import Contender, Contest


def sleeper(seconds):
    return partial(time.sleep, seconds)


def broken():
    raise ValueError("no such model")


def quitter():
    return partial(os._exit, 3)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(turns, "LOADED", ())


def test_the_slower_one_is_told_by_its_times():
    contenders = [Contender(name=name, make=partial(sleeper, seconds)) for name, seconds in (("a", 0.01), ("b", 0.04))]
    with Contest(contenders) as contest:
        found = contest.rounds(threads=1, rounds=6, seconds=0.05)
        processes = contest._processes
    assert [len(times) for times in found] == [6, 6]
    assert all(one < other for one, other in zip(*found, strict=True))
    assert all(one >= 0.01 for one in found[0])
    assert not any(process.is_alive() for process in processes)


def test_slow_steps_have_fewer_rounds_but_never_too_few():
    with Contest([Contender(name="slow", make=partial(sleeper, 0.05))]) as contest:
        (times,) = contest.rounds(threads=1, rounds=12, seconds=0.01)
        (few,) = contest.rounds(threads=1, rounds=2, seconds=0.01)
    assert (len(times), len(few)) == (turns.LEAST_ROUNDS, 2)


@pytest.mark.parametrize(("make", "said"), [(broken, "no such model"), (quitter, "ended without a word")])
def test_a_contender_that_fails_is_named(make, said):
    with (
        pytest.raises(RuntimeError, match=f"(?s)the poor one .*{said}"),
        Contest([Contender(name="the poor one", make=make)]) as contest,
    ):
        contest.rounds(threads=1, rounds=1, seconds=0.01)
