"""What README.md tells a reader to type does what it says."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from harness import __main__ as program
from harness.execution.overrides import override
from harness.execution.plan import make_plan
from harness.spec import SCALES, find_study, study_names

README = (Path(__file__).parents[2] / "README.md").read_text()


def fences(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def lines(first: str) -> list[str]:
    """Every line of the shell examples that starts with a word."""
    return [line for text in fences("sh") for line in text.splitlines() if line.startswith(f"{first} ")]


def commands(group: click.Group) -> Iterator[click.Command]:
    for command in group.commands.values():
        if isinstance(command, click.Group):
            yield from commands(command)
        else:
            yield command


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each command would have been called with; none does anything."""
    calls: list[dict[str, Any]] = []
    for command in commands(program.cli):
        monkeypatch.setattr(command, "callback", lambda *_, **options: calls.append(options))
    return calls


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The study file that README shows."""
    (text,) = fences("python")
    path = tmp_path / "depth.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize("line", lines("patchbench"))
def test_commands_are_understood(
    line: str, taken: list[dict[str, Any]], example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(example.parent)
    program.cli.main(shlex.split(line, comments=True)[1:], standalone_mode=False)
    (options,) = taken
    if "name" in options:
        name, study = find_study(options["name"])
        override(study.resolve(name, options["scale"] or "laptop"), options.get("overrides", ()))


@pytest.mark.parametrize("line", lines("make"))
def test_make_lines_name_targets_and_valid_overrides(line: str, repository: Path) -> None:
    _, target, *given = shlex.split(line, comments=True)
    assert re.search(rf"^{target}: .*## ", (repository / "Makefile").read_text(), flags=re.MULTILINE)
    values = dict(pair.split("=", 1) for pair in given)
    assert set(values) <= {"NAME", "SCALE", "SET", "ARGS", "PYTHON"}
    if "NAME" in values:
        name, study = find_study(values["NAME"])
        override(study.resolve(name, values.get("SCALE", "laptop")), values.get("SET", "").split())


def test_the_example_study_is_short_and_can_be_planned(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 15
    name, study = find_study(str(example))
    plan = make_plan(study.resolve(name, "smoke"))
    assert name == "depth"
    assert plan.runs == 4 * (3 + 3)


def test_every_study_and_scale_is_in_the_tables() -> None:
    for name in study_names():
        assert f"| `{name}` | {find_study(name)[1].question} |" in README
    for scale in SCALES:
        assert f"| `{scale}` |" in README


def test_exit_codes_are_those_of_the_program() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE)}
    assert codes == {0, program.DEFECT, program.USER_ERROR, program.GAPS, program.INTERRUPTED}


def test_nothing_is_loaded_from_the_network_to_show_it() -> None:
    assert not re.findall(r"!\[.*?\]\(https?:|<img", README)
