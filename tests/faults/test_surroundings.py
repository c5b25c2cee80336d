"""What a study meets around it: a terminal of few letters or none, files that it may not write, another user."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_study import FaultStudy
from stage import Launch
from what_is_kept import differences

NOBODY = 65534
may_mount = (
    os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode == 0
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
mounting = pytest.mark.skipif(not may_mount, reason="file systems cannot be mounted here")
VERBS = ("list", "show", "status", "verify", "report", "run")


@pytest.fixture(scope="module")
def finished(fresh: Callable[[], FaultStudy]) -> FaultStudy:
    """For tests that leave it as it is."""
    study = fresh()
    study.finish()
    return study


def launched(study: FaultStudy, verb: str, *options: object, **environment: str) -> Launch:
    if verb == "run":
        return study.start(*options, **environment)
    named = () if verb == "list" else (study.file, "--scale", "smoke")
    given = {f"PATCHBENCH_{name.upper()}": value for name, value in environment.items()}
    return study.stage.launch("--results", study.results, verb, *named, *options, environment=given)


def ended(launch: Launch) -> tuple[int, str]:
    code, said = launch.wait(), " ".join(launch.said().split())
    assert "Traceback" not in said, said
    assert "defect" not in said, said
    return code, said


# --- standard output --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "encoding"), [*((verb, "ascii") for verb in VERBS), ("report", "latin-1")])
def test_signs_that_a_terminal_lacks_are_replaced(finished: FaultStudy, verb: str, encoding: str) -> None:
    launch = launched(finished, verb, encoding=encoding)
    code, said = ended(launch)
    assert code == 0, said
    assert said.isascii() or encoding == "latin-1", said
    if verb in ("report", "run"):
        assert "Wiring test: no conclusion. Report: " in said


def test_json_for_a_terminal_of_few_letters_holds_all_of_them(finished: FaultStudy) -> None:
    code, said = ended(launched(finished, "report", "--json", encoding="ascii"))
    assert code == 0
    assert r"\u2013" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "how"), [*((verb, "closed") for verb in VERBS), *((verb, "unread") for verb in ("list", "run"))]
)
def test_nobody_needs_to_listen(finished: FaultStudy, verb: str, how: str) -> None:
    """`patchbench VERB >&-`, and `patchbench VERB | head -0`."""
    code, said = ended(launched(finished, verb, **{how: "1"}))
    assert (code, said) == (0, "")


@pytest.mark.slow
def test_a_study_that_nobody_listens_to_is_trained(study: FaultStudy, undisturbed: dict[str, Any]) -> None:
    code, said = ended(study.start(unread="1"))
    assert (code, said) == (0, "")
    assert differences(undisturbed, study.kept()) == []


def test_output_that_a_disk_has_no_room_for_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "harness", "list"]
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "error: Standard output could not be written: No space left on device. What was asked for is done.\n"
    )


# --- files that cannot be written, or not even read -------------------------------------------------------------------


@mounting
@pytest.mark.parametrize(("verb", "expected"), [("list", 0), ("status", 0), ("verify", 0), ("report", 2), ("run", 2)])
def test_a_file_system_that_is_read_only(finished: FaultStudy, verb: str, expected: int) -> None:
    code, said = ended(launched(finished, verb, read_only=str(finished.results)))
    assert code == expected, said
    if expected:
        assert "Read-only file system. Mount that file system for writing" in said
        assert str(finished.results) in said


@mounting
def test_a_study_is_not_begun_where_it_cannot_be_kept(study: FaultStudy) -> None:
    code, said = ended(study.start(read_only=str(study.results)))
    assert code == 2
    assert "Read-only file system" in said
    assert not study.place.exists()


@pytest.mark.slow
@as_root
@pytest.mark.parametrize(("verb", "expected"), [("status", 0), ("verify", 0), ("report", 2), ("run", 2)])
def test_another_user_may_read(finished: FaultStudy, verb: str, expected: int) -> None:
    opened(finished.folder)
    code, said = ended(launched(finished, verb, user=str(NOBODY)))
    assert code == expected, said
    if expected:
        assert "Permission denied. Give this user the right to read and write there" in said


@pytest.mark.slow
@as_root
@pytest.mark.parametrize("verb", ["status", "verify", "run"])
@pytest.mark.parametrize("closed", ["", "work", "work/runs", "runs.csv", "work/lock", "study.json"])
def test_another_user_may_not_even_read(finished: FaultStudy, verb: str, closed: str) -> None:
    opened(finished.folder)
    place = finished.place / closed
    mode = place.stat().st_mode
    place.chmod(0)
    try:
        code, said = ended(launched(finished, verb, user=str(NOBODY)))
    finally:
        place.chmod(mode)
    assert code == 2 or verb == "status", said
    assert code == 0 or "Permission denied" in said, said


def opened(folder: Path) -> None:
    """Let everybody read what is below a folder, and get there."""
    for path in (folder, *folder.parents[:-2]):
        path.chmod(path.stat().st_mode | 0o055)
