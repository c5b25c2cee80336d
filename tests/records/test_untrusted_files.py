"""Records that somebody else has made: bounded before they are taken in, one message each, nothing of them is run."""

import errno
import io
import json
import os
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.console import table, tell_error
from harness.records import correctness, files
from harness.records.correctness import read_arrays
from harness.records.files import (
    RecordsError,
    open_to_append,
    open_to_read,
    parse_json,
    read_bytes,
    read_json,
    sha256,
    write_json,
)
from harness.records.manifest import mismatches, read_manifest, write_manifest
from harness.records.run_table import load_runs
from harness.records.runs import RunFolder, RunResult, read_journal
from harness.records.study_file import without_passwords
from harness.records.write_lock import StudyLock, write_lock
from harness.spec import canonical_json, to_plain

DIGEST = "ab" * 32


# --- JSON -------------------------------------------------------------------------------------------------------------

HOSTILE = {
    "nested without end": b"[" * 200_000,
    "nested objects": b'{"a":' * 100_000,
    "a number beyond floats": b'{"a": 1e999}',
    "a number beyond 64 bits": b'{"a": 9223372036854775808}',
    "another": b"-1e400",
    "a number of a million digits": b"1" * 1_000_000,
    "half a surrogate pair": b'{"a": "\\ud800"}',
    "half a pair as a key": b'{"\\udfff": 1}',
    "not a number": b"NaN",
    "other bytes": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_is_refused_with_the_name_of_its_file(tmp_path, content):
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(RecordsError, match=r"^Could not read .*/result\.json: "):
        read_json(path)
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(b'{"event": "a"}\n' + content + b'\n{"event": "b"}\n')
    with pytest.raises(RecordsError, match=r"journal\.jsonl, line 2 is not an event"):
        read_journal(journal)
    journal.write_bytes(b'{"event": "a"}\n' + content)
    assert [event["event"] for event in read_journal(journal)] == ["a"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(JSON)
def test_what_can_be_written_can_be_read(value):
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()), st.data())
def test_whatever_json_is_read_can_be_written_as_a_record(content, data):
    at = data.draw(st.integers(0, len(content)))
    for mangled in (content, content[:at], content[:at] + b"\\u" + content[at:]):
        try:
            value = parse_json(mangled)
        except ValueError:
            continue
        canonical_json(value).encode()


def test_a_record_is_a_plain_file_of_bounded_size(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_BYTES", 100)
    (tmp_path / "large.json").write_bytes(b" " * 101)
    with pytest.raises(RecordsError, match=r"large\.json: it has more than 100 bytes"):
        read_json(tmp_path / "large.json")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(RecordsError, match=r"pipe\.json is not a plain file"):
        read_json(tmp_path / "pipe.json")
    for path in (tmp_path, tmp_path / "missing.json", tmp_path / "nul\0.json"):
        with pytest.raises(RecordsError, match=r"Could not read|is not a plain file"):
            read_bytes(path)


# --- arrays -----------------------------------------------------------------------------------------------------------


def header(text):
    """The head of a .npy file of version 1.0 with any text in it."""
    content = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(content)) + content


def archive(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def npy(array, **named):
    buffer = io.BytesIO()
    np.save(buffer, array, **named)
    return buffer.getvalue()


def described(kind, shape):
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"


HEADERS = {
    "terabytes": (described("<u2", "(10000000000000,)"), ""),
    "less than none": (described("<u2", "(-1,)"), ""),
    "two dimensions": (described("<u2", "(1, 1)"), "shape"),
    "objects": (described("|O", "(1,)"), ""),
    "no width": (described("|V0", "(9,)"), ""),
    "an expression": ("{'descr': __import__('os').getcwd(), 'fortran_order': False, 'shape': (1,)}", ""),
    "not a header": ("[" * 500, ""),
}


@pytest.mark.parametrize(("text", "message"), HEADERS.values(), ids=HEADERS)
def test_an_array_that_is_not_what_it_announces_is_refused(tmp_path, text, message):
    path = archive(tmp_path / "predictions.npz", {"labels": header(text) + b"\0\0"})
    with pytest.raises(RecordsError, match=rf"predictions\.npz: .*{message}"):
        read_arrays(path, {"labels": "u"})


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    path = archive(tmp_path / "predictions.npz", {"labels": npy(np.array([Trap()]), allow_pickle=True)})
    with pytest.raises(RecordsError):
        read_arrays(path, {"labels": "u"})
    assert not (tmp_path / "sprung").exists()


def test_a_zip_bomb_is_cut_at_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(correctness, "MOST_BYTES", 10_000)
    path = archive(tmp_path / "predictions.npz", {"labels": npy(np.zeros(10_000_000, np.uint8))})
    assert path.stat().st_size < 20_000
    with pytest.raises(RecordsError, match="it unpacks to more than 10,000 bytes"):
        read_arrays(path, {"labels": "u"})


@given(st.lists(st.integers(0, 2**16 - 1)), st.lists(st.text("0123456789abcdef", min_size=1, max_size=64)))
def test_arrays_read_are_those_written(tmp_path_factory, numbers, names):
    path = tmp_path_factory.mktemp("arrays") / "a.npz"
    np.savez_compressed(path, numbers=np.array(numbers, np.uint16), names=np.array(names, "U64"))
    read = read_arrays(path, {"numbers": "u", "names": "U"})
    assert read["numbers"].tolist() == numbers
    assert read["names"].tolist() == names


# --- a run folder -----------------------------------------------------------------------------------------------------


def folder_with(tmp_path, **fields):
    """A run folder whose result has its hash, as one who knows the format would forge it."""
    folder = RunFolder(tmp_path / DIGEST)
    body = to_plain(RunResult(digest=DIGEST, status="completed")) | fields
    write_json(folder.result_path, {"result": body, "sha256": sha256(canonical_json(body).encode())})
    return folder


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "..", ".", "", "result.json", "a/predictions.npz"])
def test_a_result_names_its_own_files_only(tmp_path, name):
    with pytest.raises(RecordsError, match=r"it may name predictions\.npz and journal\.jsonl"):
        folder_with(tmp_path, files={name: "0" * 64}).result()


@pytest.mark.parametrize(
    "fields",
    [
        {"files": 3},
        {"files": {"predictions.npz": 4}},
        {"shifts": 1},
        {"shifts": [[]]},
        {"status": "won"},
        {"status": ["completed"]},
        {"test_accuracy": "high"},
        {"test_accuracy": 10**400},
        {"updates": 1.5},
        {"environment": []},
        {"reason": None},
        {"digest": "ba" * 32},
    ],
)
def test_a_result_of_wrong_types_is_one_message(tmp_path, fields):
    with pytest.raises(RecordsError, match=DIGEST):
        folder_with(tmp_path, **fields).result()


# --- manifest, lock ---------------------------------------------------------------------------------------------------


def test_a_manifest_tells_what_changed(tmp_path):
    for name in ("runs.csv", "figures/a.png", "study.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    write_manifest(tmp_path, [tmp_path / "runs.csv", tmp_path / "figures" / "a.png"], {"python": "3"})
    known = read_manifest(tmp_path)
    assert known.made_by == {"python": "3"}
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").symlink_to(tmp_path / "nothing")
    with pytest.raises(RecordsError, match=r"manifest\.json"):  # not results of before there was one
        read_manifest(tmp_path)
    assert mismatches(tmp_path, known.files) == {}
    (tmp_path / "runs.csv").write_text("changed")
    (tmp_path / "figures" / "a.png").unlink()
    assert mismatches(tmp_path, known.files) == {"runs.csv": sha256(b"changed"), "figures/a.png": "no such file"}


@pytest.mark.parametrize("content", [[], {}, {"files": [], "made_by": {}}, {"files": {"a": 1}, "made_by": {}}])
def test_what_is_no_manifest_is_named(tmp_path, content):
    write_json(tmp_path / "manifest.json", content)
    with pytest.raises(RecordsError, match=r"Could not read .*manifest\.json: "):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[[1, 2]]", b"[" * 100_000, b'{"pid": 1e999}', b"x" * 100_000])
def test_a_lock_that_says_nonsense_is_still_a_lock(tmp_path, content):
    path = tmp_path / "lock"
    with StudyLock(path):
        path.write_bytes(content)
        for attempt in (StudyLock(path).require_free, StudyLock(path).__enter__):
            with pytest.raises(ValueError, match="another process holds its lock"):
                attempt()
    path.write_bytes(content)
    StudyLock(path).require_free()
    with StudyLock(path):
        pass


def test_a_lock_that_cannot_be_opened_is_named(tmp_path):
    for attempt in (StudyLock(tmp_path).require_free, StudyLock(tmp_path).__enter__):
        with pytest.raises(RecordsError, match=r"is not a plain file\. Remove it|Is a directory\. Remove what stands"):
            attempt()


@pytest.mark.parametrize("name", ["folder", "fifo", "loop", "null"])
def test_only_plain_files_are_opened(tmp_path, name):
    path = tmp_path / name
    {
        "folder": path.mkdir,
        "fifo": lambda: os.mkfifo(path),
        "loop": lambda: path.symlink_to(name),
        "null": lambda: path.symlink_to("/dev/null"),
    }[name]()
    for attempt in (open_to_read, read_bytes, open_to_append, StudyLock(path).holder, StudyLock(path).__enter__):
        with pytest.raises(RecordsError, match=rf"/{name}\b"):
            attempt(path) if attempt in (open_to_read, read_bytes, open_to_append) else attempt()
    with pytest.raises(RecordsError, match=rf"/{name}\b"), write_lock(path):
        pass


def test_an_error_while_a_lock_is_let_go_is_one_message_and_the_lock_is_free(tmp_path):
    lock = StudyLock(tmp_path / "lock")
    with pytest.raises(RecordsError, match=r"/lock: Input/output error\. Mend the disk"), lock:
        break_file_of(lock)
    with pytest.raises(ZeroDivisionError), lock:
        1 / break_file_of(lock)  # what was under way comes first
    with StudyLock(tmp_path / "lock"):
        pass


def break_file_of(lock):
    """Let the lock's file fail from here on, but for being closed."""
    file = lock._file

    class Broken:
        def truncate(self, size):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            file.close()

    lock._file = Broken()
    return 0


# --- texts that would take for ever -----------------------------------------------------------------------------------


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["://a:" * 200_000, "://a:" * 200_000 + "@", " " * 10**6 + "@", "@" * 10**6, '"' * 10**6]
)
def test_passwords_are_looked_for_once(text):
    assert len(without_passwords(text)) <= len(text) + 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://me:secret@host/a", "http://me:***@host/a"),
        ("http://me:se:cr/et@host", "http://me:***@host"),
        ("http://host:80/a b@c", "http://host:80/a b@c"),
        ("http://me@host", "http://me@host"),
        ("a://b:c@d e://f:g@h", "a://b:***@d e://f:***@h"),
        ('"a://b:c" d@e', '"a://b:c" d@e'),
        ("://:secret@host", "://:secret@host"),
        ("x://a/b:c@d", "x://a/b:c@d"),
    ],
)
def test_passwords_are_hidden(text, expected):
    assert without_passwords(text) == expected


@pytest.mark.timeout(60)
@pytest.mark.parametrize("content", [b"," * 1_000_000, b"arm," + b"a" * 200_000 + b"\n1,2\n", b'a\n"' + b"x" * 10**6])
def test_hostile_tables_are_refused_at_once(tmp_path, content):
    (tmp_path / "runs.csv").write_bytes(content)
    with pytest.raises(RecordsError, match=r"runs\.csv"):
        load_runs(tmp_path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("text", ["\\" * 200_000, "[a" * 100_000, ":a" * 100_000, ":smile:", "[red]x"])
def test_a_terminal_shows_any_text_as_it_is(text):
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    tell_error(console, text)
    console.print(table(text, [text], [[text]]))
    assert text[:100] in shown.getvalue().replace("\n", "")


def test_a_lock_that_cannot_be_signed_is_free_again(tmp_path, monkeypatch):
    """Also while somebody still looks at the error, as a notebook does."""
    with monkeypatch.context() as patch:
        patch.setattr("harness.records.write_lock.platform.node", full_disk)
        with pytest.raises(RecordsError, match="No space") as error:
            StudyLock(tmp_path / "lock").__enter__()
    assert error.traceback
    with StudyLock(tmp_path / "lock"):
        pass


def full_disk():
    raise OSError(errno.ENOSPC, "No space left on device")
