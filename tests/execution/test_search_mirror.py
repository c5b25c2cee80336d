"""The searches in an Optuna storage that PATCHBENCH_SEARCHES names, as Optuna's dashboard would read them."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from finished_study import tables_only
from tiny_studies import SPACE, Witness, tiny_study

from harness.execution.runner import Options, run_study
from harness.execution.search_mirror import make_up
from harness.records.study_file import latest_study
from harness.spec import Run, Search

Shown = Callable[[], dict[str, list[optuna.trial.FrozenTrial]]]


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, searches_in: Callable[[str], dict[str, list[Any]]]) -> Shown:
    """The trials of each search by what comes before its hash, in the file `searches.db`."""
    address = f"sqlite:///{tmp_path}/searches.db"
    monkeypatch.setenv("PATCHBENCH_SEARCHES", address)
    searches_in(address)  # there are tables now, which two must not make at once
    return lambda: {name.rpartition(" · ")[0]: trials for name, trials in searches_in(address).items()}


@pytest.mark.slow
def test_a_trial_is_shown_as_soon_as_it_has_ended_and_once(
    shown: Shown, inline: Options, witness: Witness, tmp_path: Path
) -> None:
    study = replace(tiny_study(search=Search(space=SPACE, trials=3, repeats=2)), seeds=(0, 1))
    seen: list[int] = []

    def look(run: Run) -> None:
        deadline = time.monotonic() + 60
        while sum(map(len, shown().values())) < len(witness.results) and time.monotonic() < deadline:
            time.sleep(0.05)
        seen.append(sum(map(len, shown().values())))

    witness.on_start = lambda run: look(run) if len(witness.results) == 2 else None
    with tables_only():
        folder = run_study(study, inline, witness)
    assert seen >= [2]
    found = shown()
    assert set(found) == {
        f"tiny/smoke · {arm} · 100 images · search {number}" for arm in ("ResNet", "ViT/4") for number in (0, 1)
    }
    for trials in found.values():
        assert sorted(trial.user_attrs["trial"] for trial in trials) == [0, 1, 2]
        assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in trials)
        assert all(set(trial.intermediate_values) == {4, 8} for trial in trials)
        assert len({trial.user_attrs["digest"] for trial in trials}) == 3
    kept, _ = latest_study(folder)
    again = {"results": inline.results, "say": witness.notes.append, "limit": 60.0}
    assert make_up(kept, folder, **again) == 0
    (tmp_path / "searches.db").unlink()
    assert make_up(kept, folder, **again) == 12
    assert {name: len(trials) for name, trials in shown().items()} == dict.fromkeys(found, 3)
    assert not [note for note in witness.notes if "searches" in note]


def test_nothing_is_made_up_where_no_storage_is_named(inline: Options, tmp_path: Path) -> None:
    assert make_up(tiny_study(), tmp_path, results=inline.results, say=print, limit=1.0) is None
