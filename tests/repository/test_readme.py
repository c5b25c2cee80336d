"""What README.md and CONTRIBUTING.md tell a reader to type does what they say."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

from harness import __main__ as program
from harness.analysis.answer import answer
from harness.analysis.evidence import evidence_of
from harness.analysis.learning import learning_cautions
from harness.commands import options, results
from harness.execution.overrides import override
from harness.execution.plan import make_plan
from harness.records.run_table import load_records
from harness.records.runs import RunFolder
from harness.report import content
from harness.report.figures import drawings
from harness.report.headline import kept_text
from harness.spec import (
    GROUPS,
    SCALES,
    Arm,
    DataSpec,
    Recipe,
    ResNetSpec,
    ResolvedStudy,
    ViTSpec,
    find_study,
    study_names,
)
from harness.training import WorkerSettings
from harness.training.perform import perform

SHORT = ["recipe.updates=2", "recipe.evaluations=1", "seeds=0,1"]  # what makes a study of minutes one of seconds
INLINE = ["--engine", "inline"]  # in the tests' process, which has loaded torch

ROOT = Path(__file__).parents[2]
README, CONTRIBUTING = ((ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md"))


def fences(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def files_shown(text: str) -> list[tuple[str, str]]:
    """Name and content of every file that a text shows."""
    return re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def lines(first: str, *texts: str) -> list[str]:
    """Every line of the shell examples that starts with a word, be the program in .venv or not."""
    shell = [line for text in texts for part in fences("sh", text) for line in part.splitlines()]
    return [line for line in (line.removeprefix(".venv/bin/") for line in shell) if line.startswith(first)]


def test_every_line_to_type_is_one_that_is_tried_here() -> None:
    known = ("patchbench ", "make ", "python3 -m venv .venv", "pip install -c constraints.txt")
    assert [line for line in lines("", README, CONTRIBUTING) if line and not line.startswith(known)] == []


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
    """The study file that README shows; those of CONTRIBUTING stand beside it."""
    _, text = fences("python")
    path = tmp_path / "my_depth.py"
    path.write_text(text)
    for name, shown in files_shown(CONTRIBUTING):
        (tmp_path / name).write_text(shown)
    return path


@pytest.mark.parametrize("line", lines("patchbench ", README, CONTRIBUTING))
def test_commands_are_understood(
    line: str, taken: list[dict[str, Any]], example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(example.parent)
    program.cli.main(shlex.split(line, comments=True)[1:], standalone_mode=False)
    (options,) = taken
    if "name" in options:
        name, study = find_study(options["name"])
        override(study.resolve(name, options["scale"] or "laptop"), options.get("overrides", ()))


@pytest.mark.parametrize("line", lines("make ", README, CONTRIBUTING))
def test_make_lines_name_targets_and_valid_overrides(line: str, repository: Path) -> None:
    _, target, *given = shlex.split(line, comments=True)
    assert re.search(rf"^{target}: .*## ", (repository / "Makefile").read_text(), flags=re.MULTILINE)
    values = dict(pair.split("=", 1) for pair in given)
    assert set(values) <= {"NAME", "SCALE", "SET", "ARGS", "PYTHON"}
    if "NAME" in values:
        name, study = find_study(values["NAME"])
        override(study.resolve(name, values.get("SCALE", "laptop")), values.get("SET", "").split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_line_that_makes_bash_complete() -> None:
    line = next(line for line in re.findall(r"`(.+?)`", README) if "_PATCHBENCH_COMPLETE" in line)
    program = Path(sys.executable).with_name("patchbench")
    words = "COMP_WORDS=(patchbench run patch_s); COMP_CWORD=2; _patchbench_completion patchbench"
    script = f'cd /; PATH="{program.parent}:$PATH"; {line}; {words}; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "patch_size", done.stderr


def test_the_example_study_is_short_and_can_be_planned(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 15
    name, study = find_study(str(example))
    plan = make_plan(study.resolve(name, "smoke"))
    assert name == "my_depth"
    assert plan.runs == 4 * (3 + 3)


@pytest.mark.slow
def test_the_example_trains(example: Path) -> None:
    """Every arm reaches 90 % of the digits with its own setting, as the first trial of its search has it."""
    plan = make_plan(find_study(str(example))[1].resolve("my_depth", "smoke"))
    for cell in plan.cells:
        run = cell.confirm(0, cell.own_values)
        result = perform(run, RunFolder(example.parent / run.digest), WorkerSettings())
        assert result.test_accuracy is not None
        assert result.test_accuracy > 0.9, (cell.arm.name, result.test_accuracy)


@pytest.mark.slow
def test_the_python_of_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text, _ = fences("python")
    there: dict[str, Any] = {}
    exec(text.replace("recipe.updates=40", "recipe.updates=4"), there)
    assert there["found"].facts.arm == there["best"]["arm"]
    assert len(there["report"].comparisons) == len(there["study"].arms)


def test_bare_specifications_train(tmp_path: Path) -> None:
    """`ViTSpec()`, `ResNetSpec()` and a short `Recipe()` as they stand, on the digits."""
    for model in (ViTSpec(), ResNetSpec()):
        study = ResolvedStudy(
            name="bare", scale="smoke", question="Does it?", source="-", factor="-", data=DataSpec(source="digits"),
            recipe=Recipe(updates=40), baseline=Arm("bare", model), arms=(),
        )  # fmt: skip
        (cell,) = make_plan(study).cells
        run = cell.confirm(0, {})
        result = perform(run, RunFolder(tmp_path / run.digest), WorkerSettings())
        assert result.test_accuracy is not None
        assert result.test_accuracy > 0.9, (model, result.test_accuracy)


def kept_finding(name: str) -> tuple[str, str]:
    """What the results that come with the code answer to a study's question, by today's analysis, and by how much."""
    kept = ROOT / "results" / name / "laptop"
    if not (kept / "study.json").exists():
        return "not run yet", ""
    evidence = evidence_of(load_records(kept))
    answered, _, effect = answer(evidence, learning_cautions(evidence)).finding.partition(": ")
    return answered, effect


def row_of(name: str) -> str:
    """A study's row in README: name, report where it has been run, question, answer, effect and minutes."""
    study, report = find_study(name)[1], f"results/{name}/laptop/REPORT.md"
    shown = f"[`{name}`]({report})" if (ROOT / report).exists() else f"`{name}`"
    answered, effect = kept_finding(name)
    assert len(answered.split()) <= 8, answered
    return f"| {shown} | {study.question} | {answered} | {effect} | {study.scales['laptop'].minutes:g} |"


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_the_tables_of_studies_have_questions_answers_and_minutes(group: str) -> None:
    (table,) = re.findall(rf"^\| {group} \|.*\n\|[-|]+\|\n((?:\|.*\n)*)", README, flags=re.MULTILINE)
    assert table.splitlines() == [row_of(name) for name in study_names() if find_study(name)[1].group == group]


def test_every_shipped_study_is_in_a_group() -> None:
    assert all(find_study(name)[1].group in GROUPS for name in study_names())


def test_the_first_figure_is_the_headline_and_the_text_its_finding() -> None:
    (figure,) = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert figure == "results/headline.png"
    said = kept_text(ROOT / "results")
    assert said is not None
    assert f"![{said[0]}]" in README


def test_every_scale_is_in_the_table() -> None:
    for scale in SCALES:
        assert f"| `{scale}` |" in README


def test_exit_codes_are_those_of_the_program() -> None:
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", README, flags=re.MULTILINE)}
    assert codes == {0, options.DEFECT, options.USER_ERROR, options.GAPS, options.INTERRUPTED}


def test_nothing_is_loaded_from_the_network_to_show_it() -> None:
    assert not re.findall(r"!\[.*?\]\(https?:|<img", README)


@pytest.fixture
def desk(tmp_path: Path, empty_database: Path) -> Path:
    """A folder in which README's lines are typed: its study, photographs, and the laptop results that come with it."""
    from sklearn.datasets import load_digits

    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "my_depth.py").write_text(fences("python")[1])
    for name in ("patch_size", "dataset_size", "data_scale"):
        shutil.copytree(ROOT / "results" / name / "laptop", folder / "results" / name / "laptop")
    shutil.copy(ROOT / "results" / "headline.npz", folder / "results")  # sample images, or a process is asked for them
    shutil.copy(empty_database, folder / "results")
    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images[:300], digits.target[:300], strict=True)):
        place = folder / "photos" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype(np.uint8)).save(place / f"{number}.png")
    return folder


def typed(desk: Path, line: str) -> list[str]:
    """A line of README as a program's arguments; what stands for something of the reader's is filled in.

    Studies are cut short: above all made images, of which each run makes its whole training part anew.
    """
    models = sorted((desk / "results").glob("*/smoke/work/models/*/model.json"))
    digest = json.loads(models[0].read_text())["digest"] if models else ""
    instead = {"DIGEST": digest, "train_sizes=1000,16000,256000": "train_sizes=100,1600,25600"}
    words = [instead.get(word, word) for word in shlex.split(line, comments=True)]
    if "run" not in words:
        return words[1:]
    short = [*SHORT, f"trials={2 if 'my_depth.py' in words else 1 if 'smoke' in words else 0}"]
    if "data.source=scattered" in words:
        short += ["data.scattered.test_images=200", "data.validation_size=200"]
    given = {word.partition("=")[0] for word in words}
    return [*words[1:], *INLINE, *(pair for pair in short if pair.partition("=")[0] not in given)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_readmes_commands_in_their_order(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In this process, which has loaded what each of them would load.

    `ui`, which serves until it is told to end, is tried in tests/tracking.
    """
    monkeypatch.chdir(desk)
    monkeypatch.setenv("PATCHBENCH_RESULTS", str(desk / "results"))
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(content, "drawings", lambda view: islice(drawings(view), 1))  # or most of the time goes there
    programs: list[list[str]] = []
    monkeypatch.setattr(results, "subprocess", SimpleNamespace(run=lambda words, **_: programs.append(words)))
    for line in (line for line in lines("patchbench ", README) if " ui " not in line):
        words = typed(desk, line)
        monkeypatch.setattr(sys, "argv", ["patchbench", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            program.main()
        said = capfd.readouterr()
        assert (line, ended.value.code, said.err) == (line, 0, "")
        assert said.out.strip(), line
    assert [words[5] for words in programs] == ["sync"]  # what `report` starts: a report needs no MLflow
