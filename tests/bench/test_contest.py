"""Contenders in processes of their own take turns, are warmed up, and tell of their failures."""

import os
import subprocess
import sys
import time
from functools import partial

import psutil
import pytest

from harness.bench import contest
from harness.bench.contest import Contender, race


def sleeper(seconds):
    return partial(time.sleep, seconds)


def broken():
    raise ValueError("no such model")


def quitter():
    return partial(os._exit, 3)


def starter(path):
    return partial(start, path)


def start(path):
    """Start a process that outlasts the test if nobody ends it, and wait for it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    path.write_text(str(child.pid))
    child.wait()


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(contest, "LOADED", ("torch", "harness.bench.contest"))


def test_the_slower_one_is_told_by_its_times():
    contenders = [Contender(name, partial(sleeper, seconds)) for name, seconds in (("a", 0.01), ("b", 0.04))]
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    (found,) = race(contenders, threads=[1], rounds=6, seconds=0.05).values()
    assert [len(times) for times in found] == [6, 6]
    assert all(one < other for one, other in zip(*found, strict=True))
    assert all(one >= 0.01 for one in found[0])
    left = [one for one in psutil.Process().children(recursive=True) if one.pid not in before and is_contender(one)]
    assert left == []


def is_contender(process):
    """Whether it is neither the server that contenders are forked from nor the tracker of its resources."""
    return psutil.Process().pid != process.ppid()


@pytest.mark.parametrize(("rounds", "seconds", "found"), [(12, 0.01, contest.LEAST_ROUNDS), (2, 0.01, 2), (3, 0.0, 3)])
def test_slow_steps_have_fewer_rounds_but_never_too_few(rounds, seconds, found):
    times = race([Contender("slow", partial(sleeper, 0.05))], threads=[1, 2], rounds=rounds, seconds=seconds)
    assert {threads: len(taken) for threads, (taken,) in times.items()} == {1: found, 2: found}


def test_copies_work_at_the_same_time_with_a_thread_each(monkeypatch):
    def answers(team, do, *arguments):
        asked.append(arguments[:1])
        return [0.1 * (place + 1) for place in range(len(team._pools))] if do is contest._take_turn else []

    asked = []
    monkeypatch.setattr(contest._Team, "_all", answers)
    contenders = [Contender("one", int), Contender("two", int, copies=2)]
    ((one,), (two,)) = race(contenders, threads=[4], rounds=1, seconds=0.0)[4]
    assert (one, two) == (pytest.approx(0.1), pytest.approx(1 / (1 / 0.1 + 1 / 0.2)))
    assert asked[-2:] == [(4,), (1,)]


@pytest.mark.parametrize(("make", "said"), [(broken, "no such model"), (quitter, "terminated abruptly")])
def test_a_contender_that_fails_is_named(make, said):
    with pytest.raises(RuntimeError, match=f"(?s)the poor one .*{said}"):
        race([Contender("the poor one", make)], threads=[1], rounds=1, seconds=0.01)


def test_an_interrupt_ends_contenders_and_what_they_started(tmp_path, monkeypatch):
    path = tmp_path / "pid"

    def interrupted(team, *arguments, **options):
        if team._contender.name == "second":
            while not path.exists() or not path.read_text():
                time.sleep(0.01)
            raise KeyboardInterrupt
        team._pools[0].submit(contest._take_turn, 1, 0.0, 1)
        return 1.0

    monkeypatch.setattr(contest._Team, "turn", interrupted)
    contenders = [Contender("first", partial(starter, path)), Contender("second", partial(sleeper, 0.01))]
    with pytest.raises(KeyboardInterrupt):
        race(contenders, threads=[1], rounds=1, seconds=0.0)
    assert has_ended(int(path.read_text()))


def has_ended(pid):
    """Whether a process is over, though nobody may have asked yet for its exit code."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
