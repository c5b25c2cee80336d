"""What the repository holds: sources and results; nothing that a command, a test or MLflow leaves in the folder."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

TOP_LEVEL = {
    *("harness", "studies", "results", "tests", "pyproject.toml", "constraints.txt", "Makefile"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", ".gitignore", ".ci"),
}
RESULTS_ENDINGS = {".csv", ".html", ".json", ".jsonl", ".md", ".npz", ".png", ".svg"}


@pytest.fixture(scope="module")
def tracked(repository: Path) -> list[Path]:
    """Every file under version control, relative to the root."""
    if not (repository / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=repository, capture_output=True, text=True, check=True)
    return [Path(name) for name in listed.stdout.split("\0") if name and (repository / name).exists()]


def test_the_top_level_is_the_one_described(tracked: list[Path]) -> None:
    assert {path.parts[0] for path in tracked} == TOP_LEVEL


def test_results_are_reports_and_tables_of_less_than_22_mb(tracked: list[Path], repository: Path) -> None:
    results = [path for path in tracked if path.parts[0] == "results"]
    assert {path.suffix for path in results} <= RESULTS_ENDINGS
    assert not [path for path in results if "work" in path.parts]
    assert sum((repository / path).stat().st_size for path in results) < 22_000_000


def test_results_name_no_folder_of_the_machine_that_made_them(tracked: list[Path], repository: Path) -> None:
    """Wherever they are read, the command that made them can be given again."""
    studies = [path for path in tracked if path.parts[0] == "results" and path.name == "study.json"]
    commands = [json.loads((repository / path).read_text())["provenance"]["command"] for path in studies]
    assert studies
    assert [command for command in commands if "--results" in command or "/" in command] == []


@pytest.mark.parametrize("place", ["comparisons/a-b/report.html", "mlartifacts/1/x", "patch_size/laptop/work/run.json"])
def test_by_products_of_commands_are_ignored(repository: Path, place: str) -> None:
    if not (repository / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    asked = ["git", "check-ignore", "--no-index", "--quiet", f"results/{place}"]
    assert subprocess.run(asked, cwd=repository, check=False).returncode == 0
