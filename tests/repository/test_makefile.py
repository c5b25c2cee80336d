"""`make` with a Python that only writes down what it is asked to do: nothing is installed, nothing is trained."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

QUICK_TESTS = ["-m", "pytest", "-n", "auto", "--dist", "worksteal", "-m", "not slow"]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

FAKE_PYTHON = """#!/bin/sh
case "$*" in
    *version_info*) exit "${FAKE_OLD:-0}" ;;
    *ensurepip*) exit "${FAKE_NO_VENV:-0}" ;;
    -V) echo Python 3.9.6; exit 0 ;;
    "-m pip --version") exit 0 ;;
esac
{ echo CALL; for word in "$@"; do printf '%s\\n' "$word"; done; } >> calls
case "$*" in
    "-m venv --clear .venv") rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
    *" install "*) echo "pip's own words"; exit "${FAKE_PIP:-0}" ;;
    *harness*) exit "${FAKE_HARNESS:-0}" ;;
esac
"""

Make = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Path:
    """A checkout with the Makefile and what it looks at, and a fake Python beside it."""
    here = tmp_path / "a checkout"
    (here / "studies").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "studies/_recipes.py", "studies/patch_size.py"):
        shutil.copy(repository / name, here / name)
    (tmp_path / "python").write_text(FAKE_PYTHON)
    (tmp_path / "python").chmod(0o755)
    return here


@pytest.fixture
def make(checkout: Path) -> Make:
    """Run make in the checkout; keyword arguments are environment variables."""
    given = ("MAKE", "MFLAGS", "NAME", "SCALE", "SET", "ARGS")  # what make has for the tests themselves
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(given)}
    python = str(checkout.parent / "python")

    def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["make", *arguments],
            cwd=checkout,
            env=inherited | {"PYTHON": python} | environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run


def calls(checkout: Path) -> list[list[str]]:
    """What Python was asked to do since the last look, one list of words per call."""
    path = checkout / "calls"
    if not path.exists():
        return []
    words = path.read_text().removeprefix("CALL\n").split("CALL\n")
    path.unlink()
    return [call.splitlines() for call in words]


def harness_call(checkout: Path) -> list[str]:
    """The words of the one call of the harness."""
    found = [call for call in calls(checkout) if call[:2] == ["-m", "harness"]]
    assert len(found) == 1
    return found[0][2:]


def installed(made: Iterable[list[str]]) -> list[str]:
    """What pip was told to install, call by call."""
    return [call[-1] for call in made if "install" in call]


def later(path: Path) -> None:
    """Change a file's time to one after every stamp."""
    ahead = time.time() + 10
    os.utime(path, (ahead, ahead))


def test_make_alone_lists_every_target(make: Make, checkout: Path) -> None:
    done = make()
    assert done.returncode == 0
    for target in (
        "study",
        "report",
        "results",
        "studies",
        "ui",
        "test",
        "test-all",
        "lint",
        "numerics",
        "constraints",
        "help",
    ):
        assert f"make {target} " in done.stdout
    assert "Studies: patch_size" in done.stdout
    assert calls(checkout) == []


@pytest.mark.parametrize("target", ["study", "report"])
def test_no_name_lists_the_studies_before_anything_is_installed(make: Make, checkout: Path, target: str) -> None:
    done = make(target)
    assert done.returncode == 2
    assert f"make {target} NAME=patch_size. Studies: patch_size." in done.stderr
    assert calls(checkout) == []
    assert not (checkout / ".venv").exists()


def test_unknown_name_is_told_before_anything_is_installed(make: Make, checkout: Path) -> None:
    name = "x'\"; touch pwned; $(touch pwned) `touch pwned` %s $(shell touch pwned)"
    done = make("study", f"NAME={name}")
    assert done.returncode == 2
    assert f"There is no study '{name}'. Studies: patch_size" in done.stderr
    assert calls(checkout) == []
    assert not (checkout / "pwned").exists()


NASTY = "my 'study'; touch pwned; `touch pwned` $(touch pwned) $(shell touch pwned) $HOME \"*\" \\ #.py"


@pytest.mark.parametrize("given", ["on the command line", "in the environment"])
def test_what_the_user_gives_is_taken_by_its_letters(make: Make, checkout: Path, given: str) -> None:
    overrides = ["seeds=0,1", "a=`touch${IFS}pwned`", "b=$(touch${IFS}pwned);touch", "pwned", "c=*", "$HOME", "'d=1"]
    values = {"NAME": NASTY, "SCALE": f"lap top {NASTY}", "SET": "  ".join(overrides)}
    if given == "in the environment":
        done = make("study", **values)
    else:
        done = make("study", *(f"{key}={value}" for key, value in values.items()))
    assert done.returncode == 0, done.stderr
    assert harness_call(checkout) == ["run", f"--scale=lap top {NASTY}", "--", NASTY, *overrides]
    assert not (checkout / "pwned").exists()


def test_study_and_report_without_a_scale_leave_it_to_the_harness(make: Make, checkout: Path) -> None:
    make("study", "NAME=patch_size")
    assert harness_call(checkout) == ["run", "--", "patch_size"]
    make("report", "NAME=patch_size", "SCALE=smoke")
    assert harness_call(checkout) == ["report", "--scale=smoke", "--", "patch_size"]


@pytest.mark.parametrize(("given", "words"), [((), []), (("NAME=data",), ["--", "data"])])
def test_results_are_those_of_every_study_or_of_a_group(
    make: Make, checkout: Path, given: tuple[str, ...], words: list[str]
) -> None:
    assert make("results", "SCALE=smoke", *given).returncode == 0
    assert harness_call(checkout) == ["run-all", "--scale=smoke", *words]


def test_arguments_of_pytest_are_split_and_not_executed(make: Make, checkout: Path) -> None:
    assert make("test", "ARGS=-k x;touch pwned tests/*").returncode == 0
    assert [*QUICK_TESTS, "-k", "x;touch", "pwned", "tests/*"] in calls(checkout)
    assert not (checkout / "pwned").exists()


@pytest.mark.parametrize("code", [1, 2, 3, 75])
def test_a_failing_command_fails_make_which_names_its_code(make: Make, code: int) -> None:
    done = make("study", "NAME=patch_size", FAKE_HARNESS=str(code))
    assert done.returncode == 2
    assert f"Error {code}" in done.stderr


def test_first_use_makes_the_environment_and_says_so(make: Make, checkout: Path) -> None:
    done = make("studies")
    assert done.returncode == 0, done.stderr
    assert "Setting up .venv" in done.stdout
    made = calls(checkout)
    assert made[0] == ["-m", "venv", "--clear", ".venv"]
    assert installed(made) == ["setuptools", "."]
    assert all(call[call.index("-c") + 1] == "constraints.txt" for call in made if "install" in call)
    assert made[-1] == ["-m", "harness", "list"]

    assert "Setting up" not in make("studies").stdout
    assert calls(checkout) == [["-m", "harness", "list"]]


def test_tests_and_lint_add_their_tools(make: Make, checkout: Path) -> None:
    make("studies")
    calls(checkout)
    make("test")
    made = calls(checkout)
    assert installed(made) == ["setuptools", ".[dev]"]
    assert made[-1] == QUICK_TESTS
    make("lint")
    assert installed(calls(checkout)) == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "Makefile"])
def test_changed_inputs_are_installed_into_the_same_environment(make: Make, checkout: Path, name: str) -> None:
    make("test")
    calls(checkout)
    later(checkout / name)
    make("test")
    made = calls(checkout)
    assert installed(made) == ["setuptools", ".", "setuptools", ".[dev]"]
    assert not any("venv" in call for call in made)


def test_an_environment_that_is_there_without_stamps_is_kept(make: Make, checkout: Path) -> None:
    (checkout / ".venv/bin").mkdir(parents=True)
    shutil.copy(checkout.parent / "python", checkout / ".venv/bin/python")
    (checkout / ".venv/mine").touch()
    assert make("studies").returncode == 0
    assert (checkout / ".venv/mine").exists()


@pytest.mark.parametrize("left", ["unfinished", "broken"])
def test_a_half_made_environment_is_made_anew(make: Make, checkout: Path, left: str) -> None:
    (checkout / ".venv/bin").mkdir(parents=True)
    if left == "unfinished":
        shutil.copy(checkout.parent / "python", checkout / ".venv/bin/python")
        (checkout / ".venv/.unfinished").touch()
    assert make("studies").returncode == 0
    assert ["-m", "venv", "--clear", ".venv"] in calls(checkout)


def test_a_failed_installation_shows_why_and_is_tried_again(make: Make, checkout: Path) -> None:
    done = make("study", "NAME=patch_size", FAKE_PIP="1")
    assert done.returncode == 2
    assert "pip's own words" in done.stderr
    assert "The installation failed" in done.stderr
    made = calls(checkout)
    assert not any("harness" in call for call in made)

    assert make("study", "NAME=patch_size").returncode == 0
    made = calls(checkout)
    assert installed(made) == ["setuptools", "."]
    assert not any("venv" in call for call in made)
    assert "harness" in made[-1]


def test_old_and_missing_pythons_get_one_clear_message(make: Make, checkout: Path) -> None:
    done = make("studies", FAKE_OLD="1")
    assert done.returncode == 2
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.6" in done.stderr
    assert "make studies PYTHON=" in done.stderr
    done = make("test", PYTHON="no-such-python")
    assert done.returncode == 2
    assert "needs Python 3.11 or newer" in done.stderr
    assert calls(checkout) == []


def test_a_python_without_venv_gets_the_remedy(make: Make, checkout: Path) -> None:
    done = make("studies", FAKE_NO_VENV="1")
    assert done.returncode == 2
    assert "sudo apt install python3-venv" in done.stderr
    assert calls(checkout) == []


def test_two_installations_at_once_are_refused(make: Make, checkout: Path) -> None:
    (checkout / ".venv.pid").write_text(f"{os.getpid()}\n")
    done = make("studies")
    assert done.returncode == 2
    assert f"Process {os.getpid()} is setting up .venv" in done.stderr
    assert calls(checkout) == []

    with subprocess.Popen(["true"]) as ended:
        pass
    (checkout / ".venv.pid").write_text(f"{ended.pid}\n")
    assert make("studies").returncode == 0
    assert not (checkout / ".venv.pid").exists()
