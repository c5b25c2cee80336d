"""What scripts and shells use: JSON on standard output, completion, narrow consoles, doctor, compare."""

import contextlib
import io
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result
from rich.console import Console

from harness.__main__ import cli
from harness.console import findings_table, tell_error
from harness.execution import doctor
from harness.execution.publish import read_results
from harness.records.write_lock import StudyLock
from harness.report import document

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "results"
TINY = ("recipe.updates=4", "recipe.evaluations=1", "search.trials=0", "seeds=0,1", "data.train_size=60")
Here = Callable[..., "subprocess.CompletedProcess[str]"]


def patchbench(results: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "harness", "--results", str(results), *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=False,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    folder = tmp_path_factory.mktemp("scripts") / "results"
    folder.mkdir()
    shutil.copy(empty_database, folder)
    return folder


@pytest.fixture(scope="module")
def ran(results: Path) -> Result:
    """In the tests' process, where torch is loaded already."""
    words = ["--results", str(results), "run", "patch_size", "--scale", "smoke", "--engine", "inline", "--json", *TINY]
    return CliRunner().invoke(cli, words)


def test_run_prints_one_json_document(results: Path, ran: Result) -> None:
    assert ran.exit_code == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert (said["study"], said["scale"]) == ("patch_size", "smoke")
    assert said["folder"] == str(results / "patch_size" / "smoke")
    assert said["answer"].endswith(".")
    assert len(said["comparisons"]) == 3
    assert {claim["verdict"] for claim in said["claims"]} <= {"reproduced", "contradicted", "inconclusive"}
    assert (Path(said["folder"]) / said["files"]["page"]).is_file()
    assert "8 runs" in ran.stderr


@pytest.mark.slow
def test_report_prints_the_same_document(results: Path, ran: Result, here: Here) -> None:
    again = here(results, "report", "patch_size", "--scale", "smoke", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == json.loads(ran.stdout)


def test_the_index_of_results_is_renewed(results: Path, ran: Result) -> None:
    assert ran.exit_code == 0
    assert "patch_size/smoke/REPORT.md" in (results / "README.md").read_text()
    assert "patch_size/smoke/figures/accuracy_by_level.png" in (results / "index.html").read_text()


def test_plan_prints_its_forecast_as_json(tmp_path: Path, here: Here) -> None:
    done = here(tmp_path / "results", "plan", "patch_size", "--scale", "smoke", "--json", *TINY)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["runs"] == 8
    assert [cell["seeds"] for cell in said["cells"]] == [2, 2, 2, 2]
    assert said["seconds"] == pytest.approx(said["seconds_left"])
    assert said["seconds"] > 0
    assert said["done"] == 0


def test_plan_tells_what_is_left(results: Path, ran: Result, here: Here) -> None:
    assert ran.exit_code == 0
    more = ["seeds=0,1,2,3" if pair.startswith("seeds=") else pair for pair in TINY]
    done = here(results, "plan", "patch_size", "--scale", "smoke", "--json", *more)
    said = json.loads(done.stdout)
    assert (said["runs"], said["done"]) == (16, 8)
    assert 0 < said["seconds_left"] < said["seconds"]
    told = here(results, "plan", "patch_size", "--scale", "smoke", *TINY)
    assert "Of the runs 8 are done already; what is left takes 0 s." in told.stdout


def test_mistakes_leave_standard_output_empty(tmp_path: Path, here: Here) -> None:
    done = here(tmp_path, "run", "patchsize", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: There is no study 'patchsize'.")


@pytest.mark.slow
def test_compare_sets_two_studies_side_by_side(tmp_path: Path, here: Here) -> None:
    output = tmp_path / "both.html"
    arguments = ("compare", "patch_size/laptop", str(KEPT / "dataset_size" / "laptop"), "--output", str(output))
    done = here(KEPT, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(
        "The studies share no arm: their numbers stand side by side here, and no difference is computed.\n"
        f"Written: {output}\nWritten: {output.with_suffix('.md')}\n"
    )
    assert "Settings of data, recipe and search that differ" in done.stdout
    assert "Patch size (laptop) and Dataset size (laptop)" in output.read_text()


@pytest.mark.slow
def test_compare_tells_a_program_of_a_replication(tmp_path: Path, here: Here) -> None:
    output = tmp_path / "both.html"
    done = here(KEPT, "compare", "patch_size/laptop", "patch_size/laptop", "--output", str(output), "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kind"] == "replication"
    assert [row["p_holm"] for row in found["differences"]] == [None] * 3  # no run is a replication of itself
    assert [row["first"] == row["second"] for row in found["verdicts"]] == [True] * len(found["verdicts"])
    assert found["files"] == {"page": str(output), "markdown": str(output.with_suffix(".md"))}
    assert "in both results" in "".join(found["warnings"])


@pytest.mark.parametrize("folder", ["", f"{KEPT}/"])
def test_compare_refuses_two_scales_at_once(tmp_path: Path, here: Here, folder: str) -> None:
    done = here(tmp_path, "compare", f"{folder}patch_size/laptop", "dataset_size", "--scale", "smoke")
    assert done.returncode == 2
    assert "patch_size/laptop' names the scale 'laptop', --scale says 'smoke'" in done.stderr


def test_the_page_of_a_comparison_is_no_markdown(tmp_path: Path, here: Here) -> None:
    done = here(KEPT, "compare", "patch_size", "dataset_size", "--output", str(tmp_path / "both.md"))
    assert done.returncode == 2
    assert "both.md'; it names a page, FILE.html, beside which its Markdown lies." in done.stderr
    assert not list(tmp_path.iterdir())


def test_status_needs_no_pandas(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("raise ImportError('this command must not load it')\n")
    done = patchbench(KEPT, "status", "patch_size", "--scale", "laptop", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "incomplete", "offered"),
    [
        (["run"], "patch", {"patch_size"}),
        (["compare", "patch_size"], "dataset", {"dataset_size", "dataset_size_epochs"}),
        (["run", "patch_size", "--scale"], "l", {"laptop"}),
        (["status"], "my_study.p", {"my_study.p"}),
        ([], "doc", {"doctor"}),
    ],
)
def test_the_shell_completes(words: list[str], incomplete: str, offered: set[str]) -> None:
    shell = ShellComplete(cli, {}, "patchbench", "_PATCHBENCH_COMPLETE")
    assert {item.value for item in shell.get_completions(words, incomplete)} == offered


@pytest.mark.slow
def test_the_final_table_fits_80_columns() -> None:
    records, findings = read_results(KEPT / "patch_size" / "laptop")
    summary = document(records, findings, ())["summary"]
    for width in (80, 120):
        out = io.StringIO()
        Console(file=out, width=width, _environ={}).print(findings_table(summary, width, 0.95))
        lines = out.getvalue().splitlines()
        assert max(map(len, lines)) <= width
        assert len(lines) <= 3 + 2 * len(findings.arms)  # a long name may take a second line
        assert ("MACs" in lines[0]) == (width == 120)
        below = " ".join(" ".join(lines[-3:]).split())
        left_out = "Left out, as the terminal has fewer than 105 columns: MACs, images/s."
        assert (left_out in below) == (width == 80)
        assert "intervals, over searches, seeds and test images." in below


@pytest.mark.parametrize("is_bare", [True, False])
def test_no_color_is_heeded(is_bare: bool) -> None:
    out = io.StringIO()
    environment = {"NO_COLOR": "1"} if is_bare else {"TERM": "xterm-256color"}
    console = Console(file=out, force_terminal=True, width=80, _environ=environment)
    tell_error(console, "Something is [wrong].")
    assert "Something is [wrong]." in out.getvalue()
    assert ("\x1b[3" in out.getvalue()) != is_bare


def levels(checks: list[doctor.Check]) -> dict[str, str]:
    return {check.what: check.level for check in checks}


def test_doctor_looks_at_everything(tmp_path: Path, here: Here) -> None:
    done = here(tmp_path / "results", "doctor", "--json")
    found = {check["what"]: check["level"] for check in json.loads(done.stdout)}
    assert done.returncode == (2 if "bad" in found.values() else 0), done.stdout
    assert found.keys() >= {
        *("Python", "packages", "torch", "device", "bf16", "memory", "disk space"),
        *("data: digits", "data: fashion_mnist", "MLflow", "results folder", "lock"),
    }
    assert not (tmp_path / "results").exists()


def test_doctor_works_without_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('No module named torch')\n")
    done = patchbench(tmp_path / "results", "doctor", PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "ImportError: No module named torch" in " ".join(done.stdout.split())


def test_doctor_names_who_holds_a_lock(tmp_path: Path) -> None:
    with StudyLock(tmp_path / "depth" / "laptop" / "work" / "lock"):
        (lock,) = [check for check in doctor.examine(tmp_path) if check.what == "lock"]
    assert lock.level == "warn"
    assert f"depth at scale laptop is being run by process {os.getpid()} on " in lock.found
    assert levels(doctor.examine(tmp_path))["lock"] == "ok"


def test_doctor_does_not_have_a_database_moved_that_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    connect = sqlite3.connect
    monkeypatch.setattr(
        doctor.sqlite3, "connect", lambda *place, **options: connect(*place, **options | {"timeout": 0})
    )
    with contextlib.closing(connect(tmp_path / "mlflow.db")) as opened:
        opened.execute("create table runs (number)")
        opened.execute("begin exclusive")
        (found,) = [check for check in doctor.examine(tmp_path) if check.what == "MLflow"]
    assert (found.level, found.mend) == ("bad", "Wait for what writes to it, or end it.")
    assert "mlflow.db is locked: " in found.found


def test_doctor_finds_a_damaged_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    database = tmp_path / "mlflow.db"
    database.write_bytes(b"no database" * 100)
    assert levels(doctor.examine(tmp_path))["MLflow"] == "bad"
    database.unlink()
    with sqlite3.connect(database) as opened:
        opened.execute("create table runs (name text)")
    opened.close()
    assert levels(doctor.examine(tmp_path))["MLflow"] == "ok"


def test_doctor_survives_what_it_cannot_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> None:
        raise OSError("no such device")

    monkeypatch.setattr(doctor.shutil, "disk_usage", broken)
    (check,) = [check for check in doctor.examine(tmp_path) if check.what == "disk space"]
    assert check.level == "bad"
    assert "no such device" in check.found


@pytest.mark.parametrize(("free", "level"), [(1e8, "bad"), (1e9, "warn"), (1e12, "ok")])
def test_doctor_weighs_disk_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, level: str) -> None:
    class Usage:
        def __init__(self) -> None:
            self.free = free

    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: Usage())
    (check,) = [check for check in doctor.examine(tmp_path / "not" / "there") if check.what == "disk space"]
    assert check.level == level
    assert bool(check.mend) == (level != "ok")


def test_a_taken_port_is_refused(tmp_path: Path, here: Here) -> None:
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = here(tmp_path, "ui", "--port", str(port))
    assert done.returncode == 2
    assert f"Port {port} on 127.0.0.1 is taken" in done.stderr
