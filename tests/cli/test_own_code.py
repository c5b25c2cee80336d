"""The study files that CONTRIBUTING shows, with a claim, a figure and a search of their own, by the real command."""

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.records.files import read_json

pytestmark = pytest.mark.usefixtures("main_figure_only")
Here = Callable[..., "subprocess.CompletedProcess[str]"]

SHORT = ("recipe.updates=20", "recipe.evaluations=2", "data.train_size=100")
SHORTEST = ("recipe.updates=4", "recipe.evaluations=1", "data.train_size=100")
INLINE = ("--engine", "inline")
TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
SHOWN = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL))

FIGURES = '''
def fails(tables):
    return tables.runs["nothing"]

def differences(tables):
    """Has the name of a figure that every report has."""

def gives_none(tables):
    pass

STUDY = replace(STUDY, figures=(*STUDY.figures, fails, differences, gives_none))
'''


@pytest.fixture
def desk(tmp_path: Path, with_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that are shown, and one for results."""
    for name, text in SHOWN.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def pages(folder: Path) -> dict[str, bytes]:
    names = ("report.html", "REPORT.md", "report.json", "claims.csv")
    return {name: (folder / name).read_bytes() for name in names}


def test_the_examples_are_short() -> None:
    assert {"my_claim.py", "my_figure.py", "my_search.py"} <= SHOWN.keys()
    assert all(len(SHOWN[name].splitlines()) <= 22 for name in ("my_claim.py", "my_figure.py", "my_search.py"))


@pytest.mark.slow
def test_a_claim_of_ones_own(desk: Path, here: Here) -> None:
    results = desk / "results"
    done = here(results, "run", "my_claim.py", "--scale", "smoke", *INLINE, *SHORT, "trials=0")
    assert done.returncode == 0, done.stderr
    folder = results / "my_claim" / "smoke"
    (claim,) = rows(folder / "claims.csv")
    assert (claim["claim"], claim["statement"]) == ("AheadEarly-1", "Smaller patches are ahead early.")
    assert float(claim["ci_low"]) <= float(claim["estimate"]) <= float(claim["ci_high"])
    assert "Wiring test: no conclusion" in done.stdout  # and no verdict, at this scale
    assert "Judged by the study file&#39;s own class AheadEarly." in (folder / "report.html").read_text()
    assert "points of validation accuracy" in claim["reason"]
    (kept,) = read_json(folder / "study.json")["study"]["claims"]
    assert (kept["type"], kept["source"], kept["arm"]) == ("AheadEarly", "my own", "ViT/2")
    before = pages(folder)

    # Without the file, and without the work folder: the verdict is kept.
    (desk / "my_claim.py").unlink()
    shutil.rmtree(folder / "work")
    assert here(results, "report", "my_claim", "--scale", "smoke").returncode == 0
    assert pages(folder) == before
    assert here(results, "verify", "my_claim", "--scale", "smoke").returncode == 0

    # A file that no longer loads costs nothing; one that judges otherwise is asked again.
    (desk / "my_claim.py").write_text("import nothing_of_that_name\n")
    again = here(results, "report", "my_claim.py", "--scale", "smoke")
    assert (again.returncode, pages(folder)) == (0, before)
    assert "shown as they were kept" in " ".join(again.stdout.split())
    (desk / "my_claim.py").write_text(SHOWN["my_claim.py"].replace("return Estimate(", "return Estimate(100 + "))
    assert here(results, "report", "my_claim.py", "--scale", "smoke").returncode == 0
    (changed,) = rows(folder / "claims.csv")
    assert float(changed["estimate"]) == pytest.approx(float(claim["estimate"]) + 100)
    (desk / "my_claim.py").write_text(SHOWN["my_claim.py"].replace("ahead early.", "ahead."))
    again = here(results, "report", "my_claim.py", "--scale", "smoke")
    assert "The claims of the study file were changed after its last run" in " ".join(again.stdout.split())
    assert here(results, "verify", "my_claim", "--scale", "smoke").returncode == 0


@pytest.mark.slow
def test_a_figure_of_ones_own(desk: Path, here: Here) -> None:
    results = desk / "results"
    with (desk / "my_figure.py").open("a") as file:
        file.write(FIGURES)
    assert here(results, "run", "my_figure.py", "--scale", "smoke", *INLINE, *SHORT, "trials=0").returncode == 0
    folder = results / "my_figure" / "smoke"
    assert {"overfitting.png", "overfitting.svg"} < {path.name for path in (folder / "figures").iterdir()}
    page = (folder / "report.html").read_text()
    assert "below the diagonal the test part is harder" in page
    assert "The study&#39;s own figures" in page
    said = json.loads((folder / "report.json").read_text())
    assert said["files"]["figures"][-1] == "figures/overfitting.png"
    failed = [text for text in said["warnings"] if "own figure" in text]
    assert len(failed) == 3
    assert "'fails' is left out: KeyError: 'nothing' (my_figure.py, line " in failed[0]
    assert "'differences' is left out: a figure of every report is called so" in failed[1]
    assert "'gives_none' is left out: it gave None, which is no matplotlib Figure" in failed[2]
    before = pages(folder)

    shutil.rmtree(folder / "work")
    assert here(results, "report", "my_figure", "--scale", "smoke").returncode == 0
    assert pages(folder) == before
    (folder / "figures" / "overfitting.png").unlink()
    assert here(results, "report", "my_figure", "--scale", "smoke").returncode == 0
    assert "'overfitting' is left out" in (folder / "REPORT.md").read_text()
    assert here(results, "report", "my_figure.py", "--scale", "smoke").returncode == 0
    assert pages(folder) == before

    (desk / "my_figure.py").write_text(SHOWN["my_figure.py"].replace("overfitting", "losses"))
    assert here(results, "report", "my_figure.py", "--scale", "smoke").returncode == 0
    names = {path.stem for path in (folder / "figures").iterdir()}
    assert ("losses" in names, "overfitting" in names) == (True, False)


@pytest.mark.slow
def test_a_search_over_fields_of_the_model(desk: Path, here: Here) -> None:
    results = desk / "results"
    assert here(results, "run", "my_search.py", "--scale", "smoke", *INLINE, *SHORTEST, "seeds=0,1,2").returncode == 0
    folder = results / "my_search" / "smoke"
    trials = rows(folder / "trials.csv")
    vits = [trial for trial in trials if trial["arm"] != "ResNet-8"]
    assert len({trial["p.model.stochastic_depth"] for trial in vits}) > 1
    assert {trial["p.model.stochastic_depth"] for trial in trials if trial["arm"] == "ResNet-8"} == {""}
    for run in (folder / "work" / "runs").iterdir():
        content = read_json(run / "config.json")
        for name, value in content["values"].items():
            if name.startswith("model."):
                assert content["config"]["model"][name.removeprefix("model.")] == value
    report = (folder / "REPORT.md").read_text()
    assert "Chosen model.stochastic depth (to edge)" in report
    assert "Search: model.dropout, family vit" in report
    assert here(results, "verify", "my_search", "--scale", "smoke").returncode == 0
    status = json.loads(here(results, "status", "my_search", "--scale", "smoke", "--json").stdout)
    assert status["statuses"] == {"completed": status["planned"]}
