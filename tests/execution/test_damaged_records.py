"""Whatever happens to the files of a study: a clear message, or a run that is trained again; never a wrong table."""

import contextlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished_study import STUDY, Kept, assert_same_tables, run_in, tables_only
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.execution.publish import read_results, rebuild
from harness.execution.verify import verify
from harness.records import manifest
from harness.records.files import sha256, write_json
from harness.records.runs import RunFolder
from harness.records.status import read_status
from harness.spec import InvalidInput, canonical_json

HOSTILE = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"12",
    b'"text"',
    b"[" * 100_000,
    b'{"a": 1e999}',
    b'{"result": {"digest": "\\ud800"}}',
    b"\xff\xfe\x00",
    b"a,b\n1,2,3\n",
    b"\x00" * 300,
)
VALUES = st.sampled_from([None, True, -1, 10**400, 1e308, "", "text", "../../x", [], {}, [[1]], {"a": {"b": 1}}])
RUN_FILES = ("config.json", "journal.jsonl", "result.json", "predictions.npz")
WORK_FILES = ("work/study.json", "work/status.json", "work/lock")
few = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
fewer = settings(few, max_examples=2)
"""Of each of many files, which are all read by the same functions."""


def flip(data: st.DataObject, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    return bytes(changed)


def cut(data: st.DataObject, content: bytes) -> bytes:
    return content[: data.draw(st.integers(0, len(content) - 1))]


def replace(data: st.DataObject, content: bytes) -> bytes:
    del content
    return data.draw(st.sampled_from(HOSTILE))


def retype(data: st.DataObject, content: bytes) -> bytes:
    """JSON with one value replaced or taken away, anywhere in it."""
    try:
        value = json.loads(content)
    except ValueError:
        return flip(data, content)
    at, key = value, None
    while isinstance(at, dict | list) and at:
        keys = sorted(at) if isinstance(at, dict) else list(range(len(at)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    if key is None or data.draw(st.booleans()):
        at.pop(key) if key is not None else None
    else:
        at[key] = data.draw(VALUES)
    return json.dumps(value).encode()


Damage = Callable[[st.DataObject, bytes], bytes]
DAMAGES: tuple[Damage, ...] = (flip, cut, replace, retype)


def damaged(data: st.DataObject, path: Path) -> bool:
    """Damage a file in one of the ways; False where it stayed as it was."""
    before = path.read_bytes() if path.exists() else b"{}"
    way = data.draw(st.sampled_from(DAMAGES if before else (replace,)))
    path.write_bytes(way(data, before))
    return path.read_bytes() != before


def meaning(path: Path) -> Any:
    """What a JSON file says, whatever its spaces; the bytes of others."""
    content = path.read_bytes()
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content


def a_run(data: st.DataObject, folder: Path) -> Path:
    return data.draw(st.sampled_from(sorted((folder / "work" / "runs").iterdir())))


@pytest.mark.slow
@few
@pytest.mark.parametrize("name", RUN_FILES)
@given(data=st.data())
def test_a_damaged_run_is_trained_again_or_refused(kept: Kept, name: str, data: st.DataObject) -> None:
    with kept.copy() as folder, tables_only():
        run = a_run(data, folder)
        if not (run / name).exists():  # a trial has no predictions
            return
        before = meaning(run / name)
        damaged(data, run / name)
        is_other = meaning(run / name) != before
        read_status(folder)
        found = verify(folder)
        assert bool(found.faults) >= (is_other and name != "config.json")
        witness, records = run_in(folder)
        assert_same_tables(records, kept.records)
        assert len(witness.trained) <= 1
        assert verify(folder).faults == () or name == "config.json"


@pytest.mark.slow
@fewer
@pytest.mark.parametrize("name", WORK_FILES)
@given(data=st.data())
def test_damaged_files_of_the_coordinator_stop_nothing(kept: Kept, name: str, data: st.DataObject) -> None:
    with kept.copy() as folder, tables_only():
        damaged(data, folder / name)
        for look in (read_status, verify):
            try:
                look(folder)
            except InvalidInput as error:
                assert name.rpartition("/")[2] in str(error)  # noqa: PT017 (to answer is as right)
        witness, records = run_in(folder)
        assert witness.trained == []
        assert_same_tables(records, kept.records)


@pytest.mark.slow
@fewer
@pytest.mark.parametrize(
    "name", [*(name for name in manifest.SOURCES if name not in ("patches.csv", "few_shots.csv")), manifest.NAME]
)
@given(data=st.data())
def test_no_report_is_made_from_damaged_tables(kept: Kept, name: str, data: st.DataObject) -> None:
    with kept.copy(work=False) as folder, tables_only():
        if not damaged(data, folder / name):
            return
        try:
            rebuild(folder, print)
        except InvalidInput as error:
            assert str(folder) in str(error)  # noqa: PT017 (a manifest may be damaged where it does not matter)
        else:
            assert name == manifest.NAME
            assert_same_tables(read_results(folder)[0], kept.records)
            return
        assert verify(folder).faults


@pytest.mark.slow
def test_origins_of_any_type_are_told_or_refused(kept: Kept) -> None:
    """Each field of the provenance as what it cannot be, in turn: a fault or one message by what reads it, in turn."""
    study = json.loads((kept.folder / "study.json").read_bytes())
    values = itertools.cycle((None, -1, "?", {}))
    looks = itertools.cycle((read_status, verify, lambda folder: rebuild(folder, lambda text: None)))
    for key, value, look in zip(study["provenance"], values, looks, strict=False):
        with kept.copy(work=False) as folder, tables_only():
            changed = study | {"provenance": study["provenance"] | {key: value}}
            (folder / "study.json").write_text(json.dumps(changed))
            (folder / manifest.NAME).unlink()
            with contextlib.suppress(InvalidInput):
                look(folder)


@pytest.mark.slow
@few
@given(data=st.data())
def test_tables_without_hashes_are_read_or_refused(kept: Kept, data: st.DataObject) -> None:
    """As those of an earlier version: what cannot be is refused, and nothing ends in a traceback."""
    name = data.draw(st.sampled_from(manifest.SOURCES))
    with kept.copy(work=False) as folder, tables_only():
        (folder / manifest.NAME).unlink()
        damaged(data, folder / name)
        for look in (read_results, read_status, verify):
            try:
                look(folder)
            except InvalidInput as error:
                assert str(error)  # noqa: PT017


@pytest.mark.slow
@few
@given(data=st.data())
def test_a_forged_result_is_one_message_or_a_result(kept: Kept, data: st.DataObject) -> None:
    """With the right hash, as one who knows the format would forge it."""
    with kept.copy() as folder, tables_only():
        run = RunFolder(a_run(data, folder))
        body = json.loads(run.result_path.read_bytes())["result"]
        key = data.draw(st.sampled_from(sorted(body)))
        body[key] = data.draw(VALUES)
        try:
            text = canonical_json(body)
        except ValueError:
            return
        write_json(run.result_path, {"result": body, "sha256": sha256(text.encode())})
        read_status(folder)
        try:
            run_in(folder)
        except InvalidInput as error:
            assert str(error)  # noqa: PT017
        verify(folder)


@pytest.mark.parametrize("content", [b"", b"12", b"{}", b"[" * 100_000, b'{"sha256": [], "made_by": 1e999}'])
def test_a_checkpoint_whose_manifest_is_damaged_is_set_aside(kept: Kept, content: bytes) -> None:
    with kept.copy() as folder, tables_only():
        run = min((folder / "work" / "runs").iterdir())
        for name in ("result.json", "journal.jsonl"):
            (run / name).unlink()
        (run / "checkpoint-000000004.pt").write_bytes(b"no state")
        (run / "checkpoint-000000004.json").write_bytes(content)
        witness, records = run_in(folder)
        assert len(witness.trained) == 1
        assert (run / "damaged" / "checkpoint-000000004.pt.0").exists()
        assert_same_tables(records, kept.records)


def test_the_study_is_as_planned(kept: Kept) -> None:
    """What the other tests rest on: four confirm runs and four trials, all completed."""
    assert len(kept.records.runs) == len(STUDY.seeds) * 2
    assert set(kept.records.runs["status"]) == set(kept.records.trials["status"]) == {"completed"}
