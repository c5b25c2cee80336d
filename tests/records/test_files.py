"""Files that are whole or not there, whatever interrupts the write; journals; the lock."""

import contextlib
import errno
import fcntl
import json
import os
import re
import subprocess
import sys
import textwrap
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import write_lock as locks
from harness.records.files import (
    RecordsError,
    atomic_writer,
    read_json,
    remove_unfinished,
    set_aside,
    set_aside_together,
    write_bytes,
    write_json,
)
from harness.records.runs import Journal, RunFolder, read_journal, whole_lines
from harness.records.write_lock import StudyLock, write_lock
from harness.spec import InvalidInput


def in_child(code, *arguments):
    """Run code in a Python of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("when", ["during", "before the rename"])
def test_a_writer_that_is_killed_leaves_the_earlier_file(tmp_path, when):
    path = tmp_path / "result.json"
    write_bytes(path, b"earlier")
    done = in_child(
        """
        import os, sys
        from pathlib import Path
        from harness.records.files import atomic_writer
        if sys.argv[2] == "before the rename":
            Path.replace = lambda *_: os._exit(9)
        with atomic_writer(Path(sys.argv[1])) as file:
            file.write(b"later")
            if sys.argv[2] == "during":
                file.flush()
                os._exit(9)
        """,
        path,
        when,
    )
    assert done.returncode == 9, done.stderr
    assert path.read_bytes() == b"earlier"
    left = [other.name for other in tmp_path.iterdir() if other != path]
    assert len(left) == 1
    assert left[0].startswith(".result.json.")
    remove_unfinished(tmp_path)
    assert [other.name for other in tmp_path.iterdir()] == ["result.json"]


def test_what_somebody_writes_is_not_removed_as_unfinished(tmp_path):
    """Not by another process, nor by another thread of the writer's, nor between the writing and the rename."""
    path, clean = tmp_path / "result.json", "import sys; from pathlib import Path; from harness.records.files import "
    clean += "remove_unfinished; remove_unfinished(Path(sys.argv[1]))"
    with atomic_writer(path) as file:
        file.write(b"later")
        assert in_child(clean, tmp_path).returncode == 0
        threads = [threading.Thread(target=remove_unfinished, args=(tmp_path,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert path.read_bytes() == b"later"
    assert list(tmp_path.iterdir()) == [path]


def test_writers_and_cleaners_of_a_folder_do_not_disturb_each_other(tmp_path):
    stop = threading.Event()

    def clean():
        while not stop.is_set():
            remove_unfinished(tmp_path)

    cleaners = [threading.Thread(target=clean) for _ in range(2)]
    for cleaner in cleaners:
        cleaner.start()
    try:
        for number in range(100):
            write_bytes(tmp_path / "result.json", str(number).encode())
    finally:
        stop.set()
        for cleaner in cleaners:
            cleaner.join()
    assert [other.read_bytes() for other in tmp_path.iterdir()] == [b"99"]


def test_what_is_no_file_of_ours_is_left_alone(tmp_path):
    (tmp_path / ".a.tmp").mkdir()
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / ".b.tmp").symlink_to(tmp_path / "mine")
    remove_unfinished(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.tmp", ".b.tmp", "mine"]


def test_a_failure_of_the_caller_leaves_the_earlier_file_and_nothing_else(tmp_path):
    path = tmp_path / "result.json"
    write_bytes(path, b"earlier")
    with contextlib.suppress(ZeroDivisionError), atomic_writer(path) as file:
        file.write(b"later")
        raise ZeroDivisionError
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


FULL_DISK = """
    import resource, signal, sys
    from pathlib import Path
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
"""


def test_a_full_disk_is_named_and_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "checkpoint.pt"
    write_bytes(path, b"earlier")
    done = in_child(
        textwrap.dedent(FULL_DISK)
        + textwrap.dedent(
            """
            from harness.records.files import RecordsError, write_bytes
            try:
                write_bytes(Path(sys.argv[1]), b"x" * 100_000)
            except RecordsError as error:
                print(error)
            """
        ),
        path,
    )
    assert done.stdout.startswith(f"Could not write {path}: File too large. "), done.stderr
    assert (
        "bytes are free there. Lift the limit on the size of files (ulimit -f), then run the same command again"
        in done.stdout
    )
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_no_half_line_in_a_journal(tmp_path):
    """The system takes a part of a line before it refuses; what follows must not be appended to that part."""
    path = tmp_path / "journal.jsonl"
    done = in_child(
        textwrap.dedent(FULL_DISK)
        + textwrap.dedent(
            """
            from harness.records.files import RecordsError
            from harness.records.runs import Journal
            journal = Journal(Path(sys.argv[1]))
            journal.append("evaluated", filler="x" * 3000)
            try:
                journal.append("evaluated", filler="x" * 3000)
            except RecordsError as error:
                print(error)
            journal.append("finished")
            journal.close()
            """
        ),
        path,
    )
    assert re.fullmatch(
        rf"Could not write {re.escape(str(path))}: File too large\. [0-9,]+ bytes are free there\. Lift the limit .*\n",
        done.stdout,
    ), done.stderr
    assert [event["event"] for event in read_journal(path)] == ["evaluated", "finished"]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(RecordsError, match=r"Could not write .*/runs/a\.json: .*Remove what stands in the place"):
        write_json(tmp_path / "runs" / "a.json", {})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"a": NaN}', b'{"a": -Infinity}'])
def test_what_is_not_json_is_named(tmp_path, content):
    path = tmp_path / "study.json"
    path.write_bytes(content)
    with pytest.raises(RecordsError, match=r"^Could not read .*/study\.json: "):
        read_json(path)


def test_no_record_holds_nan(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "result.json", {"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_setting_aside_overwrites_nothing(tmp_path):
    kept = []
    for content in ("one", "two", "three"):
        path = tmp_path / "run"
        path.write_text(content)
        kept.append(set_aside(path, tmp_path / "aside"))
        assert not path.exists()
    folder = tmp_path / "run"
    folder.mkdir()
    kept.append(set_aside(folder, tmp_path / "aside"))
    assert [path.name for path in kept] == ["run.0", "run.1", "run.2", "run.3"]
    assert [path.read_text() for path in kept[:3]] == ["one", "two", "three"]


def test_what_belongs_together_is_set_aside_in_one_folder(tmp_path):
    aside = tmp_path / "aside"
    for number in range(2):
        (tmp_path / "figures").mkdir()
        (tmp_path / "figures" / "a.png").write_text(f"{number}")
        (tmp_path / "runs.csv").write_text(f"{number}")
        paths = [tmp_path / "runs.csv", tmp_path / "figures", tmp_path / "shifts.csv"]
        folder = set_aside_together(paths, aside, "results")
        assert folder == aside / f"results.{number}"
        assert (folder / "figures" / "a.png").read_text() == (folder / "runs.csv").read_text() == f"{number}"
        assert sorted(path.name for path in folder.iterdir()) == ["figures", "runs.csv"]
    assert set_aside_together(paths, aside, "results") is None
    assert [path.name for path in tmp_path.iterdir()] == ["aside"]


def test_a_link_is_no_record_of_ones_own(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("not a journal")
    for name, opened in (
        ("lock", lambda path: StudyLock(path).__enter__()),
        ("journal.jsonl", Journal),
        ("turn", lambda path: write_lock(path).__enter__()),
    ):
        path = tmp_path / "study" / name
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(victim)
        with pytest.raises(RecordsError, match=rf"{name}: Too many levels .*Remove what stands"):
            opened(path)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.log_path.symlink_to(victim)
    with pytest.raises(RecordsError, match=r"log\.txt: Too many levels"):
        folder.open_log()
    assert victim.read_text() == "not a journal"


def test_writers_take_turns(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "WAIT_SECONDS", 0.1)
    with write_lock(tmp_path / "turn"), pytest.raises(RecordsError, match=r"has been writing beside .*/turn for 0 s"):
        write_lock(tmp_path / "turn").__enter__()
    with write_lock(tmp_path / "turn"):
        pass


# --- journals ---------------------------------------------------------------------------------------------------------


def journal_of(path, *events):
    with contextlib.closing(Journal(path)) as journal:
        for event in events:
            journal.append(event)


def names(path):
    return [event["event"] for event in read_journal(path)]


TORN = {
    "half a line": b'{"event": "evalu',
    "half a line that is JSON": b"{}",
    "garbage without an end": b"\0\0\0\0",
    "a garbage line": b"\xff\xfe\xfd\n",
    "a line that is no event": b"12\n",
    "an empty line": b"\n",
}


@pytest.mark.parametrize("tail", TORN.values(), ids=TORN)
def test_a_torn_last_line_is_dropped_and_the_rest_kept(tmp_path, tail):
    path = tmp_path / "journal.jsonl"
    journal_of(path, "started", "evaluated")
    with path.open("ab") as file:
        file.write(tail)
    assert names(path) == ["started", "evaluated"]
    journal_of(path, "finished")
    assert names(path) == ["started", "evaluated", "finished"]


@pytest.mark.parametrize("middle", [b"garbage\n", b"\n", b"[]\n", b'{"event": 3}\n'])
def test_damage_in_the_middle_is_an_error_that_names_the_line(tmp_path, middle):
    path = tmp_path / "journal.jsonl"
    journal_of(path, "started")
    with path.open("ab") as file:
        file.write(middle)
        file.write(b'{"event": "finished", "time": 0}\n')
    with pytest.raises(RecordsError, match=r"journal\.jsonl, line 2 is not an event\."):
        read_journal(path)


@given(
    st.lists(st.dictionaries(st.text(), st.text() | st.integers(-(2**63), 2**63 - 1) | st.none()), max_size=4),
    st.data(),
)
def test_a_journal_cut_anywhere_is_a_journal_of_fewer_events(events, data):
    lines = [json.dumps({"event": "e", **event, "event": "e"}).encode() + b"\n" for event in events]  # noqa: F601
    content = b"".join(lines)
    kept = whole_lines(content[: data.draw(st.integers(0, len(content)))])
    assert kept in [b"".join(lines[:n]) for n in range(len(lines) + 1)]
    assert whole_lines(content) == content


def test_a_rewound_journal_goes_on_where_it_was(tmp_path):
    path = tmp_path / "journal.jsonl"
    with contextlib.closing(Journal(path)) as journal:
        journal.append("started")
        length = journal.length
        assert length == path.stat().st_size
        journal.append("evaluated")
        journal.rewind(length)
        assert journal.length == length
        journal.append("finished")
    assert names(path) == ["started", "finished"]


def test_a_missing_journal_is_empty(tmp_path):
    assert read_journal(tmp_path / "journal.jsonl") == []


# --- the lock ---------------------------------------------------------------------------------------------------------

HOLDER = """
import sys, time
from pathlib import Path
from harness.records.write_lock import StudyLock, write_lock
from harness.records.runs import RunFolder
with StudyLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock; ends with the test."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "work" / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_second_process_is_refused_and_told_who_holds_the_lock(tmp_path, holder):
    lock = StudyLock(tmp_path / "work" / "lock")
    for attempt in (lock.__enter__, lock.require_free):
        with pytest.raises(InvalidInput) as caught:
            attempt()
        message = str(caught.value)
        assert message.startswith(
            f"This study is already running: process {holder.pid} on {os.uname().nodename} since 20"
        )
        assert message.endswith(f"or end that process; the lock is {tmp_path / 'work' / 'lock'}.")


def test_the_lock_of_a_dead_process_is_taken_over(tmp_path, holder):
    holder.kill()
    holder.communicate()
    path = tmp_path / "work" / "lock"
    assert json.loads(path.read_text())["pid"] == holder.pid  # what it wrote is still there
    StudyLock(path).require_free()
    with StudyLock(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EIO])
@pytest.mark.parametrize("name", ["lock", "turn", "result.json"])
def test_a_file_system_without_locks_is_told_of_with_the_path(tmp_path, monkeypatch, name, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    uses = {
        "lock": lambda path: StudyLock(path).__enter__(),
        "turn": lambda path: write_lock(path).__enter__(),
        "result.json": lambda path: write_bytes(path, b"new"),
    }
    remedy = "Mend the disk" if number == errno.EIO else r"no locks \(flock\).* --results \(PATCHBENCH_CACHE"
    with pytest.raises(RecordsError, match=rf"^Could not lock {tmp_path / name}: {os.strerror(number)}\. .*{remedy}"):
        uses[name](tmp_path / name)
    assert not list(tmp_path.glob("*.tmp"))
    remove_unfinished(tmp_path)


def test_a_lock_can_be_taken_again_but_not_twice_at_once(tmp_path):
    lock = StudyLock(tmp_path / "lock")
    for _ in range(2):
        with lock:
            with pytest.raises(InvalidInput, match=f"process {os.getpid()} on"):
                StudyLock(tmp_path / "lock").__enter__()
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    lock.require_free()


def test_asking_whether_a_study_is_free_makes_no_folder(tmp_path):
    StudyLock(tmp_path / "work" / "lock").require_free()
    assert list(tmp_path.iterdir()) == []
