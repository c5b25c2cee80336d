"""What a run is: changed recipes, data, training code and libraries never mix in silence."""

import ast
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from finished_study import STUDY, Kept, run_in, tables_only
from PIL import Image

from harness.execution import launch
from harness.execution.verify import verify
from harness.records import provenance
from harness.spec import DataSpec, InvalidInput, ResolvedStudy, Search

BESIDES = {
    "records": "keeps what a training says; decides no number",
    "spec/__init__.py": "names only",
    "spec/catalogue.py": "finds studies, which are in the configuration",
    "spec/checks.py": "refuses values, or makes a float of an int",
    "spec/errors.py": "refuses values",
    "spec/formats.py": "words of messages",
    "spec/functions.py": "finds functions of one's own, whose source is in the configuration",
    "spec/search.py": "the values that it draws are in the configuration",
    "spec/study.py": "what it resolves is in the configuration",
    "spec/claims.py": "judges results",
    "spec/verdicts.py": "words for what was judged",
}
"""What training code imports and the fingerprint leaves out, and why."""


def imported(path: Path) -> Iterator[Path]:
    """The modules of the package that a module imports, at any place in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("harness."):
                base = provenance.PACKAGE / name.removeprefix("harness.").replace(".", "/")
                yield from (found for found in (base.with_suffix(".py"), base / "__init__.py") if found.is_file())


def test_the_fingerprint_covers_what_training_imports() -> None:
    package = provenance.PACKAGE
    covered = [package / name for name in provenance._TRAINING_CODE]
    seen: set[Path] = set()
    left = [package / "training" / "perform.py"]
    while left:
        path = left.pop()
        if path not in seen:
            seen.add(path)
            left += imported(path)
    outside = {path for path in seen if not any(path.is_relative_to(part) for part in covered)}
    unexplained = {
        path.relative_to(package).as_posix()
        for path in outside
        if not any(path.is_relative_to(package / name) for name in BESIDES)
    }
    assert unexplained == set()
    assert all(part.exists() for part in covered)


def test_other_code_with_the_same_numerics_leaves_finished_runs_valid(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refactoring, a docstring, a new family: the fingerprint changes, the numbers do not."""
    monkeypatch.setattr(provenance, "code_fingerprint", lambda: "new")
    with kept.copy() as folder, tables_only():
        witness, records = run_in(folder)
    assert witness.trained == []
    assert not set(records.runs["code_fingerprint"]) & {"new"}


def test_other_numerics_are_refused_naming_what_changed(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "NUMERICS", 2)
    monkeypatch.setattr(launch, "HISTORY", {1: "the first", 2: "Muon in float64"})
    told = r"8 finished runs .* have numerics 1, and this code has 2: .*\(Muon in float64\)\. Give --set-aside"
    with kept.copy() as folder, tables_only(), pytest.raises(InvalidInput, match=told):
        run_in(folder)


@pytest.mark.slow
def test_another_torch_is_told_with_the_results(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    more = dataclasses.replace(STUDY, seeds=(0, 1, 2))
    now = provenance.versions()
    monkeypatch.setattr(provenance, "versions", lambda: now | {"torch": "99.0"})
    with kept.copy() as folder, tables_only():
        _, records = run_in(folder, more)
        assert records.provenance["torch"] == f"{now['torch']}, 99.0"
        assert run_in(folder, more)[0].notes == []


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": dataclasses.replace(STUDY.recipe, weight_decay=0.2)},
        {"data": DataSpec(source="digits", train_size=100, split_seed=1)},
        {"data": DataSpec(source="digits", train_size=101)},
        {"test_shifts": (2,)},
    ],
    ids=["recipe", "split", "size", "shifts"],
)
def test_a_changed_study_uses_no_run_of_the_earlier_one(kept: Kept, change: dict[str, object]) -> None:
    other = dataclasses.replace(STUDY, **change)  # type: ignore[arg-type]
    with kept.copy() as folder, tables_only():
        witness, records = run_in(folder, other)
        confirmed = [run for run in witness.trained if run.config.phase == "confirm"]
        assert len(confirmed) == 4
        assert not set(records.runs["digest"]) & set(kept.records.runs["digest"])
        assert any("of other settings" in note and next(iter(change)) in note for note in witness.notes)
        assert verify(folder).faults == ()


def pictures(folder: Path) -> ResolvedStudy:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")
    data = DataSpec(source=f"imagefolder:{folder}", train_size=10)
    recipe = dataclasses.replace(STUDY.recipe, updates=2)
    return dataclasses.replace(STUDY, data=data, recipe=recipe, search=Search(), seeds=(0, 1), test_shifts=())


def test_data_that_changed_under_its_name_is_trained_on_anew_and_said_so(tmp_path: Path) -> None:
    study = pictures(tmp_path / "images")
    folder = tmp_path / "results" / "tiny" / "smoke"
    with tables_only():
        _, first = run_in(folder, study)
        assert run_in(folder, study)[0].trained == []
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / "cat" / "0.png")
        assert any("data has changed since" in note for note in verify(folder).notes)
        witness, second = run_in(folder, study)
    assert len(witness.trained) == 4
    assert not set(first.runs["digest"]) & set(second.runs["digest"])
    assert any(f"of other settings (the content of imagefolder:{tmp_path}/images)" in note for note in witness.notes)
