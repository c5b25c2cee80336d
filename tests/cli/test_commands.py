"""The commands as a user types them: one study in processes of its own, the rest in the tests' process."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest
from rich.console import Console

from harness.__main__ import carry_out, cli

SMALL = ("recipe.updates=6", "recipe.evaluations=2", "search.updates=4", "search.trials=1", "data.train_size=100")
Here = Callable[..., "subprocess.CompletedProcess[str]"]


READING = (
    ("list",),
    ("status", "patch_size", "--scale", "smoke"),
    ("report", "patch_size", "--scale", "smoke"),
    ("verify", "patch_size", "--scale", "smoke"),
    ("compare", "patch_size/smoke", "data_scale/laptop"),
    ("headline",),
)
ONE_BY_ONE = """
import json, sys
from harness.__main__ import main
results, commands = sys.argv[1:]
for words in json.load(open(commands)):
    sys.argv = ["patchbench", "--results", results, *words]
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, words
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "results"
    folder.mkdir()
    shutil.copy(empty_database, folder)
    return folder


def patchbench(results: Path, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", "--results", str(results), *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | {"COLUMNS": "200"},
        check=False,
    )


@pytest.fixture(scope="module")
def finished(results: Path) -> subprocess.CompletedProcess[str]:
    return patchbench(results, "run", "patch_size", "--scale", "smoke", *SMALL)


def test_a_signal_ends_any_verb_as_an_interruption(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    @click.argument("words", nargs=-1)
    def verb(words: tuple[str, ...]) -> None:
        assert words == ("verify", "patch_size")
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    monkeypatch.setattr(sys, "argv", ["patchbench", "verify", "patch_size"])
    assert carry_out(verb) == 75
    assert capsys.readouterr().err.endswith((" patchbench verify patch_size\n", " harness verify patch_size\n"))
    monkeypatch.setenv("PATCHBENCH_RESULTS", "/elsewhere")  # which another shell does not have
    assert carry_out(verb) == 75
    assert capsys.readouterr().err.endswith(" --results /elsewhere verify patch_size\n")


def groups(command: click.Command) -> Iterator[click.Group]:
    if isinstance(command, click.Group):
        yield command
        for below in command.commands.values():
            yield from groups(below)


def test_help_is_not_cut_in_eighty_columns() -> None:
    for group in groups(cli):
        with click.Context(group, terminal_width=80) as context:
            told = group.get_help(context)
        assert "..." not in told.replace("[ARGS]...", "")


@pytest.mark.slow
def test_run_writes_what_the_contract_names(results: Path, finished: subprocess.CompletedProcess[str]) -> None:
    assert finished.returncode == 0, finished.stderr
    folder = results / "patch_size" / "smoke"
    assert f"Report: {folder / 'report.html'}" in finished.stdout
    for name in ("report.html", "REPORT.md", "study.json", "runs.csv", "trials.csv", "comparisons.csv", "claims.csv"):
        assert (folder / name).stat().st_size > 0
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".png"}
    header = (folder / "runs.csv").read_text().splitlines()[0]
    assert header.startswith("study,scale,arm,is_baseline,level,series,train_size,seed,status,test_accuracy,test_loss,")
    assert header.endswith("digest,code_fingerprint,p.augmentation.strength,p.learning_rate,p.weight_decay")
    for run in (folder / "work" / "runs").iterdir():
        names = {path.name for path in run.iterdir()}
        assert {"config.json", "journal.jsonl", "result.json", "log.txt"} <= names
    assert (results / "mlflow.db").exists()


@pytest.mark.slow
def test_run_again_trains_nothing(results: Path, finished: subprocess.CompletedProcess[str], here: Here) -> None:
    again = here(results, "run", "patch_size", "--scale", "smoke", *SMALL)
    assert again.returncode == 0, again.stderr
    assert "16 are done already" in again.stdout
    answer, report = again.stdout.splitlines()[-2:]  # above them a slow machine says how far it is
    assert finished.stdout.splitlines()[-2:] == [answer, report]
    assert report.startswith("Report: ")


@pytest.mark.slow
def test_mlflow_has_a_child_run_for_every_training(results: Path, finished: subprocess.CompletedProcess[str]) -> None:
    import sqlite3

    assert finished.returncode == 0
    with sqlite3.connect(results / "mlflow.db") as database:
        (experiment,) = database.execute("select experiment_id from experiments where name = 'patch_size/smoke'")
        digests = database.execute("select value from tags where key = 'digest'").fetchall()
    assert experiment
    folders = {path.name for path in (results / "patch_size" / "smoke" / "work" / "runs").iterdir()}
    assert sorted(digest for (digest,) in digests) == sorted(folders)


@pytest.mark.slow
def test_what_reads_results_needs_neither_torch_nor_mlflow(
    results: Path, finished: subprocess.CompletedProcess[str], repository: Path, tmp_path: Path
) -> None:
    assert finished.returncode == 0
    for name in ("torch", "torchvision", "mlflow", "optuna"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('this command must not load it')\n")
    for source in (results / "patch_size" / "smoke", repository / "results" / "data_scale" / "laptop"):
        copy = tmp_path / "results" / source.parent.name / source.name
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("work", "mlflow*"))
        (copy / "report.html").unlink()
    (tmp_path / "commands.json").write_text(json.dumps(READING))
    done = subprocess.run(
        [sys.executable, "-c", ONE_BY_ONE, str(tmp_path / "results"), str(tmp_path / "commands.json")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{repository}"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "results" / "patch_size" / "smoke" / "report.html").exists()
    assert (tmp_path / "results" / "headline.svg").exists()
    assert len(list((tmp_path / "results" / "comparisons").iterdir())) == 2


@pytest.mark.slow
def test_status_counts_the_runs(results: Path, finished: subprocess.CompletedProcess[str], here: Here) -> None:
    assert finished.returncode == 0
    shown = json.loads(here(results, "status", "patch_size", "--scale", "smoke", "--json").stdout)
    assert shown["planned"] == 16
    assert shown["statuses"] == {"completed": 16}
    assert shown["running"] == []


@pytest.mark.slow
def test_sync_finds_nothing_missing(results: Path, finished: subprocess.CompletedProcess[str], here: Here) -> None:
    assert finished.returncode == 0
    done = here(results, "sync", "patch_size", "--scale", "smoke")
    assert done.stdout.strip() == "MLflow: 0 runs of patch_size at scale smoke brought up to date."


def test_list_names_every_study(results: Path, here: Here) -> None:
    shown = here(results, "list", "--json")
    studies = json.loads(shown.stdout)
    assert {"patch_size", "dataset_size"} <= studies.keys()
    assert all(study["question"].endswith("?") for study in studies.values())


@pytest.mark.parametrize("width", [60, 80, 120])
def test_list_fits_the_terminal_and_breaks_no_word(
    width: int, results: Path, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    studies = json.loads(here(results, "list", "--json").stdout)
    monkeypatch.setattr("harness.commands.studies.make_console", lambda: Console(width=width))
    shown = here(results, "list").stdout
    assert max(map(len, shown.splitlines())) <= width
    questions = " ".join(study["question"] for study in studies.values()).split()
    assert not {*studies, *questions} - set(shown.split())


def test_show_prints_the_resolved_study(results: Path, here: Here) -> None:
    shown = json.loads(here(results, "show", "patch_size", "--scale", "smoke", "recipe.updates=7").stdout)
    assert (shown["name"], shown["scale"], shown["recipe"]["updates"]) == ("patch_size", "smoke", 7)


def test_plan_trains_nothing_and_forecasts(tmp_path: Path, here: Here) -> None:
    planned = here(tmp_path / "results", "plan", "patch_size", "--scale", "smoke")
    assert planned.returncode == 0, planned.stderr
    assert "20 runs" in planned.stdout
    assert re.search(r"Forecast on cpu .*: (\d+ min )?\d+ s\..*Nothing was trained", planned.stdout)
    assert not (tmp_path / "results" / "patch_size").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("main_figure_only")
def test_images_that_each_seed_draws_can_be_asked_for(tmp_path: Path, with_database: Path, here: Here) -> None:
    place, folder = ("patch_size", "--scale", "smoke"), with_database / "patch_size" / "smoke"
    done = here(with_database, "run", *place, *SMALL, "data.resplit=true", "--engine", "inline")
    assert done.returncode == 0, done.stderr
    told = "draws its own training, validation and test images from all 1,797"
    assert "each seed " + told in " ".join(done.stdout.split())
    kept = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert f"| Each seed | {told}" in kept["REPORT.md"].decode()
    again = here(with_database, "verify", *place)  # makes all of them again
    assert again.returncode == 0, again.stdout + again.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == kept
    fixed = here(with_database, "plan", *place, *SMALL, "data.resplit=false", "--json")
    assert json.loads(fixed.stdout)["done"] == 0


@pytest.mark.usefixtures("main_figure_only")
def test_a_users_own_study_works_like_a_shipped_one(tmp_path: Path, with_database: Path, here: Here) -> None:
    study = tmp_path / "my_study.py"
    study.write_text(
        '''"""Do deeper transformers do better on digits?"""
from dataclasses import replace
from harness.spec import Arm, Scale, Study
from studies import _recipes as r

STUDY = Study(
    question="Do deeper transformers do better on digits?",
    source="none",
    factor="depth",
    scales={"smoke": Scale(
        data=r.DIGITS, recipe=replace(r.SMOKE, updates=5), baseline=Arm("ResNet-8", r.RESNET_SMOKE),
        arms=tuple(Arm(f"depth {d}", replace(r.VIT_SMOKE, depth=d), level=d) for d in (1, 2)),
    )},
)
'''
    )
    done = here(with_database, "run", str(study), "--scale", "smoke", "--engine", "inline", "seeds=0,1")
    assert done.returncode == 0, done.stderr
    assert (with_database / "my_study" / "smoke" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "patchsize"], "There is no study 'patchsize'. Did you mean 'patch_size'"),
        (["run", "no/such/file.py"], "There is no study file no/such/file.py"),
        (["run", "patch_size", "--scale", "huge"], "'huge' is not one of 'smoke', 'laptop', 'gpu', 'paper'"),
        (["run", "patch_size", "--scale", "smoke", "recipe.update=5"], "Did you mean 'updates'"),
        (["run", "patch_size", "--scale", "smoke", "recipe.updates=five"], "recipe.updates is 'five'; it must be int"),
        (["run", "patch_size", "--scale", "smoke", "recipe.learning_rate=-1"], "recipe.learning_rate is -1.0"),
        (["run", "patch_size", "--scale", "smoke", "data.image_size=9"], "does not divide image_size 9"),
        (["run", "patch_size", "--scale", "smoke", "data.train_size=3"], "3"),
        (["run", "patch_size", "--scale", "smoke", "data.source=imagefolder:/no/where"], "/no/where"),
        (
            ["run", "patch_size", "--scale", "smoke", "--device", "cuda:7"],
            "Device 'cuda:7' is not there; valid on this",
        ),
        (["run", "patch_size", "--scale", "smoke", "--device", "cpu", "--per-device", "2"], "there --workers says"),
        (["plan", "patch_size", "--scale", "smoke", "--per-device", "0"], "0 is not in the range x>=1"),
        (["run", "patch_size", "--scale", "paper"], "imagenet"),
        (["status", "patch_size", "--scale", "gpu"], "has no results at scale 'gpu'"),
        (["report", "patch_size", "--scale", "gpu"], "has no results at scale 'gpu'"),
        (["report", "../../etc"], "There is no study '../../etc'"),
        (["data", "check", "mnist"], "data.source is 'mnist'. Did you mean 'fashion_mnist'? Valid: fashion_mnist"),
        (["fly"], "No such command 'fly'"),
    ],
)
def test_bad_input_gives_one_message_and_exit_2(tmp_path: Path, arguments: list[str], message: str, here: Here) -> None:
    done = here(tmp_path / "results", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_an_interrupted_run_exits_75_and_says_how_to_go_on(with_database: Path) -> None:
    arguments = ["run", "patch_size", "--scale", "smoke", "recipe.updates=3000", "--trials", "0", "--seeds", "1"]
    arguments += ["recipe.evaluations=100"]
    command = [sys.executable, "-m", "harness", "--results", str(with_database), *arguments]
    journals = with_database / "patch_size" / "smoke" / "work" / "runs"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not any("evaluated" in path.read_text() for path in journals.glob("*/journal.jsonl")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert re.search(r"Go on with: .*(patchbench|-m harness) --results .* run patch_size", errors)
    assert list(journals.glob("*/checkpoint-*.pt"))
    assert not list(journals.glob("*/result.json"))


@pytest.mark.usefixtures("main_figure_only")
def test_gaps_exit_3(with_database: Path, here: Here) -> None:
    hot = ("--engine", "inline", "recipe.learning_rate=1e30", "recipe.optimizer=sgd", "recipe.updates=4")
    done = here(with_database, "run", "patch_size", "--scale", "smoke", "--trials", "0", *hot)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "diverged" in done.stdout


@pytest.mark.slow
def test_table_and_figures_of_a_finished_study(
    results: Path, finished: subprocess.CompletedProcess[str], here: Here, tmp_path: Path
) -> None:
    assert finished.returncode == 0
    study = ("patch_size", "--scale", "smoke")
    assert r"\toprule" in here(results, "table", *study, "--format", "latex").stdout
    assert here(results, "table", *study, "--format", "csv").stdout.startswith("arm,")
    made = here(results, "figures", *study, "--format", "csv", "--output", str(tmp_path), "--json")
    assert {Path(path) for path in json.loads(made.stdout)["files"]} == set(tmp_path.iterdir())
    assert here(results, "table", "patch_size", "--scale", "gpu").returncode == 2
