"""Each file of a finished study damaged in each way, then five verbs: no traceback, no hang, no wrong number.

As a program it prints how many ended with which code: `python tests/faults/test_every_file_damaged.py [EVERY [FIRST]]`.
"""

import contextlib
import io
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import pytest
from small_study import TEXT
from ways_of_damage import Damage, every_damage

VERBS = ("status", "verify", "compare", "report", "run")
LIMIT_SECONDS = 100
"""A verb's; MLflow's mirror alone may wait for 30. A limit, so that a hang is no wait for ever; not a measure."""
SAMPLE = 260
"""Every so manieth damage is tried by the tests."""
PLACES = ("work/turn", "work/lock", "work/status.json", "manifest.json", "runs.csv", "trials.csv", "study.json")
IN_THE_WAY = ("a folder", "a fifo", "a loop", "/dev/null")


class Hangs(BaseException):
    """Raised into a verb that takes too long."""


@dataclass(frozen=True)
class Finished:
    """A study that has been run, in `folder/results`."""

    folder: Path
    numbers: dict[str, float]

    @classmethod
    def make(cls, folder: Path) -> "Finished":
        (folder / "widths.py").write_text(TEXT)
        code, said = called("run", folder / "widths.py", folder / "results", limit=0)
        assert code == 0, said
        (folder / "results" / "widths" / "smoke" / "figures").mkdir()
        (folder / "results" / "widths" / "smoke" / "figures" / "accuracy.png").write_bytes(b"a figure")
        return cls(folder, numbers(folder / "results"))

    def damages(self) -> list[Damage]:
        return list(every_damage(self.folder / "results", "widths"))

    def after(self, damage: Damage) -> Iterator[tuple[str, int, str, float]]:
        """Verb, exit code, what was said and seconds, of a copy with the damage."""
        with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as stack:
            results = Path(temporary) / "results"
            shutil.copytree(self.folder / "results", results)
            damage.way(results / damage.path)
            if not damage.needs_mirrors:
                stack.enter_context(without_mirrors())
            for verb in (*VERBS, *(("sync",) if damage.needs_mirrors else ())):
                began = time.monotonic()
                code, said = called(verb, self.folder / "widths.py", results)
                yield verb, code, said, time.monotonic() - began
                if code == 0 and verb in ("report", "run"):
                    assert numbers(results) == self.numbers, f"{verb} wrote other numbers"


@contextlib.contextmanager
def without_mirrors() -> Iterator[None]:
    from harness.execution import runner

    with patch.object(runner, "Mirror"):
        yield


def numbers(results: Path) -> dict[str, float]:
    frame = pd.read_csv(results / "widths" / "smoke" / "runs.csv")
    return dict(zip(frame["digest"], frame["test_accuracy"], strict=True))


def called(verb: str, study: Path, results: Path, limit: int = LIMIT_SECONDS) -> tuple[int, str]:
    """The exit code and what is said, of a verb that is carried out in this process. Nothing is drawn or synced."""
    from harness.__main__ import carry_out, cli
    from harness.commands import results as commands
    from harness.report import content

    named = [str(study), *([str(study)] if verb == "compare" else []), "--scale", "smoke"]
    argv = ["patchbench", "--results", str(results), verb, *named, *(["--engine", "inline"] if verb == "run" else [])]
    said = io.StringIO()
    before = signal.signal(signal.SIGALRM, hang)
    signal.alarm(limit)
    try:
        with (
            patch.object(sys, "argv", argv),
            patch.object(content, "drawn", lambda *arguments, **named: []),
            patch.object(commands, "subprocess"),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            return carry_out(cli), said.getvalue()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def hang(number: int, frame: Any) -> None:
    raise Hangs


def faults(finished: Finished, damages: list[Damage], codes: Counter[str]) -> Iterator[str]:
    """What must not be, in a line each; `codes` is told verbs with their exit codes."""
    for damage in damages:
        try:
            for verb, code, said, _ in finished.after(damage):
                codes[f"{verb} {code}"] += 1
                if code not in (0, 2, 3) or "Traceback" in said:
                    yield f"{damage.path} {damage.name}: {verb} ended with {code}: {said[-1500:]}"
        except (AssertionError, Hangs) as error:
            yield f"{damage.path} {damage.name}: {error!r}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    with without_mirrors():
        return Finished.make(tmp_path_factory.mktemp("finished"))


@pytest.mark.slow
def test_some_files_damaged_in_some_ways(finished: Finished) -> None:
    """`python tests/faults/test_every_file_damaged.py` goes through all of them, in an hour."""
    without = [damage for damage in finished.damages() if not damage.needs_mirrors]
    assert len(without) >= 1000
    assert list(faults(finished, without[SAMPLE // 2 :: SAMPLE], Counter())) == []


@pytest.mark.slow
@pytest.mark.parametrize(("place", "kind"), [*zip(PLACES, IN_THE_WAY * 2, strict=False)])
def test_what_stands_in_the_place_of_a_file_is_named(finished: Finished, place: str, kind: str) -> None:
    """By every verb that needs the file; the others end as they would."""
    (damage,) = (one for one in finished.damages() if (one.path, one.name) == (f"widths/smoke/{place}", kind))
    ends = {verb: (code, said) for verb, code, said, _ in finished.after(damage)}
    assert {code for code, _ in ends.values()} <= {0, 2}, ends
    named = {verb for verb, (code, said) in ends.items() if code == 2 and Path(place).name in said}
    assert {verb for verb, (code, _) in ends.items() if code == 2} == named, ends


def main() -> None:
    os.environ.setdefault("PATCHBENCH_CACHE", tempfile.mkdtemp())
    began, codes = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory() as temporary:
        made = Finished.make(Path(temporary))
        every, first = (*map(int, sys.argv[1:]), *(1, 0)[len(sys.argv) - 1 :])
        damages = made.damages()[first::every]
        for line in faults(made, damages, codes):
            print(line, flush=True)
    places = len({damage.path for damage in damages})
    print(f"{len(damages)} damages to {places} files and folders, {time.monotonic() - began:.0f} s; {dict(codes)}")


if __name__ == "__main__":
    main()
