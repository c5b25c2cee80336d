"""A process that has everything loaded and one thread, and forks a child for each launch of a command.

A launch then takes a fraction of a second, and is a process of its own all the same: it can be killed, and limited.
As a program this file is that process; it takes orders from its standard input, a JSON object per line.
"""

import contextlib
import ctypes
import dataclasses
import functools
import gc
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Mapping
from multiprocessing import util
from pathlib import Path
from typing import Any

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "200"}
"""For one thread: only then can a process be forked safely."""

REPORT_APART, NEW_SERVER = "PATCHBENCH_REPORT_APART", "PATCHBENCH_NEW_SERVER"

LIMIT_SECONDS = 120.0

JUMP_SECONDS = 10 * 365 * 24 * 3600
"""How far the failpoints' action `clock` sets the wall clock forward."""

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
"""unshare(2), mount(2)."""


@dataclasses.dataclass
class Launch:
    """A command under way, or ended."""

    stage: "Stage"
    pid: int
    pipe: int
    output: str = ""

    def wait(self, seconds: float = LIMIT_SECONDS) -> int:
        """The exit code, negative for a signal; fails the test when the process goes on for longer."""
        deadline = time.monotonic() + seconds
        while (status := self.stage.order(ask=self.pid)) is None:
            if time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"The launch did not end within {seconds} s. It said: {self.said()}")
            wait_for_end_of(self.pid, deadline - time.monotonic())
        self.said()
        os.close(self.pipe)
        self.pipe = -1
        return int(status)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def said(self) -> str:
        """What it has written to standard output and error so far."""
        with contextlib.suppress(BlockingIOError):
            while self.pipe >= 0 and (part := os.read(self.pipe, 1 << 16)):
                self.output += part.decode(errors="replace")
        return self.output


def wait_for_end_of(pid: int, seconds: float) -> None:
    """Sleep until a process of somebody else's ends, or for a while where the system cannot tell."""
    if not hasattr(os, "pidfd_open"):
        time.sleep(0.02)
        return
    descriptor = os.pidfd_open(pid)
    try:
        select.select([descriptor], [], [], max(0.0, seconds))
    finally:
        os.close(descriptor)


class Stage:
    """The process, as a test sees it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._launches = folder, 0
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ENVIRONMENT,
        )

    def launch(self, *arguments: object, environment: Mapping[str, str] | None = None) -> Launch:
        """Start `patchbench ARGUMENTS`; a checkpoint is kept after every fourth update."""
        with self._lock:
            self._launches += 1
            path = self._folder / f"output-{self._launches}"
        os.mkfifo(path)  # what it says is no file, so that no limit on files silences it
        pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        argv = ["patchbench", *map(str, arguments)]
        pid = self.order(fork=argv, environment=dict(environment or {}), output=str(path))
        return Launch(self, pid, pipe)

    def warm_up(self, *arguments: object) -> None:
        """Carry out `patchbench ARGUMENTS` in the process itself: what is loaded and compiled on first use then is."""
        self.order(run=["patchbench", *map(str, arguments)])

    def order(self, **content: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(content) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(LIMIT_SECONDS)


def serve() -> None:
    """Carry out the orders."""
    import harness.__main__

    load()
    for line in sys.stdin:
        match json.loads(line):
            case {"fork": argv, "environment": environment, "output": output}:
                sys.stdout.flush()
                pid = os.fork()
                if pid == 0:
                    become(argv, environment, output)
                answer: int | None = pid
            case {"run": argv}:
                sys.argv = argv
                with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):
                    harness.__main__.main()
                assert threading.active_count() == 1
                gc.collect()
                gc.freeze()  # what is there by now stays: no fork need look for garbage in it, page after page
                answer = None
            case {"ask": pid}:
                found, status = os.waitpid(pid, os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if found else None
        print(json.dumps(answer), flush=True)


def load() -> None:
    """Everything that a launch needs, so that none of it is loaded again; and what takes time without being kept.

    A process's death loses nothing that is on its way to the disk, so that files need not be synchronised; what the
    figures show is not compared. A report has a process of its own only where the environment has REPORT_APART; the
    server of workers is a program that loads everything itself only where it has NEW_SERVER.
    """
    import torch

    from harness.commands import results, studies
    from harness.execution import runner
    from harness.records import provenance
    from harness.report import content
    from harness.training.checkpoint import CheckpointFolder

    runner.is_reported_apart = lambda study, options: REPORT_APART in os.environ
    results.subprocess = types.SimpleNamespace(run=synced)
    util.spawnv_passfds = functools.partial(forked, util.spawnv_passfds)
    torch.set_num_threads(1)
    provenance.available_cores = lambda: 1
    os.fsync = lambda descriptor: None

    content.drawn = lambda view: [a_figure(content.Drawn)]
    studies.Options = functools.partial(studies.Options, checkpoint_seconds=0.0)  # where a worker reads it
    CheckpointFolder.is_due = lambda self, training: training.update % 4 == 0


def a_figure(make: Any) -> Any:
    """In place of all that a report draws, which nothing here looks at."""
    name = "accuracy_by_level"
    return make(name, "result", "A figure", "What it shows.", 1, f"figures/{name}.png", b"a figure")


def forked(usual: Any, path: str, arguments: list[str], passed: tuple[int, ...]) -> int:
    """In place of the server of workers, a program that loads torch anew: a fork that does what it would do."""
    is_server = sys.platform == "linux" and "forkserver" in arguments[-1]
    if NEW_SERVER in os.environ or not is_server or threading.active_count() > 1:
        return int(usual(path, arguments, passed))
    if (pid := os.fork()) == 0:
        try:
            keep_one_end(passed)
            exec(arguments[-1], {})
        finally:
            os._exit(0)
    return pid


def keep_one_end(passed: tuple[int, ...]) -> None:
    """Close the other ends of the pipes that are passed: a server ends when nobody else has them any more."""
    ends = {Path(f"/proc/self/fd/{number}").readlink() for number in passed}
    for path in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):  # of the one that has listed them
            if int(path.name) not in passed and path.readlink() in ends:
                os.close(int(path.name))


def synced(command: list[str], **options: Any) -> None:
    """In place of another program that loads MLflow anew, which is what `report` starts: a fork."""
    from harness.__main__ import main

    del options
    pid = os.fork()
    if pid == 0:
        sys.argv = ["patchbench", *command[3:]]
        with contextlib.suppress(SystemExit):
            main()
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)


def become(argv: list[str], environment: dict[str, str], output: str) -> None:
    """Turn this forked process into the command."""
    from harness.__main__ import main
    from harness.records import failpoints

    os.setsid()
    pipe = os.open(output, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(pipe, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(environment)
    live_with(environment)
    sys.argv = argv
    failpoints._fail = functools.partial(fail, failpoints._fail)
    code = 1
    try:
        main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def live_with(environment: dict[str, str]) -> None:
    """What a shell or a system sets up before a program starts: the streams, what can be written, the user."""
    if encoding := environment.get("PATCHBENCH_ENCODING"):
        sys.stdout.reconfigure(encoding=encoding, errors="strict")
    if terminal := environment.get("PATCHBENCH_TERMINAL"):
        descriptor = os.open(terminal, os.O_RDWR)  # the first that a new session opens is the one that controls it
        for number in (0, 1, 2):
            os.dup2(descriptor, number)
    if "PATCHBENCH_CLOSED" in environment:
        os.close(1)
        sys.stdout = sys.__stdout__ = None
    if "PATCHBENCH_UNREAD" in environment:
        reader, writer = os.pipe()
        os.close(reader)
        os.dup2(writer, 1)
    if environment.get("PATCHBENCH_APART"):
        from harness.execution.engines import ray_engine

        ray_engine.leave = lambda token: None  # no node sees it: as if none shared the folder of results
    if place := environment.get("PATCHBENCH_READ_ONLY"):
        mount_read_only(place.encode())
    if user := environment.get("PATCHBENCH_USER"):
        os.setgroups([])
        os.setgid(int(user))
        os.setuid(int(user))


def mount_read_only(place: bytes) -> None:
    """For this process alone."""
    system = ctypes.CDLL(None)
    assert system.unshare(CLONE_NEWNS) == 0
    assert system.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) == 0
    assert system.mount(place, place, None, MS_BIND, None) == 0
    assert system.mount(None, place, None, MS_REMOUNT | MS_BIND | MS_RDONLY, None) == 0


def fail(usual: Any, action: str) -> None:
    """What a failpoint can do in this process, besides what it usually does."""
    import torch

    from harness.tracking import background

    if action == "full":  # from here on no file can grow, MLflow's neither: nothing is worth waiting for
        background._PATIENCE_SECONDS = 1.0
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    elif action == "clock":
        for name, unit in (("time", 1), ("time_ns", 10**9)):
            setattr(time, name, functools.partial(later, getattr(time, name), unit * JUMP_SECONDS))
    elif action == "memory":
        raise torch.OutOfMemoryError("CUDA out of memory.")
    else:
        usual(action)


def later(clock: Any, by: int) -> Any:
    return clock() + by


if __name__ == "__main__":
    serve()
    os._exit(0)  # nothing is left to be done
