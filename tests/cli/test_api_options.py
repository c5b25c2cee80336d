"""How a program says where its runs are trained: `harness.run` takes what the command takes, with the same checks."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import api
from harness.execution.options import Options
from harness.spec import InvalidInput

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `ray` is not installed")
RAY = {"engine": "ray"}


@pytest.fixture(scope="module")
def study() -> Any:
    return harness.load_study("depth", scale="smoke")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"engine": "threads"}, "engine is 'threads'; it must be one of 'processes', 'inline', 'ray'"),
        ({"workers": 0}, "workers is 0"),
        ({"per_device": "2"}, "per_device is '2'; it must be a whole number, 1 or more"),
        ({"cards_per_run": None}, "cards_per_run is None"),
        ({"engine": "inline", "workers": 2}, "one run at a time, in this process, and workers is 2"),
        ({"per_device": 2}, "take the engine processes"),
        ({"cards_per_run": 2}, "take the engine processes or ray"),
        ({"ray_address": "head:6379"}, "the engine is inline: an address, HOST:PORT, goes with the engine ray"),
        ({"engine": "processes", "cards_per_run": 7}, "multiple of 7"),
        pytest.param(RAY | {"ray_address": "6379"}, "must be HOST:PORT", marks=needs_ray),
        pytest.param(RAY | {"device": "cuda:1"}, "--device is 'cuda:1'", marks=needs_ray),
        pytest.param(RAY | {"per_device": 2, "cards_per_run": 2}, "leave one out", marks=needs_ray),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    study: Any, tmp_path: Path, asked: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        harness.run(study, results=tmp_path / "results", quiet=True, **asked)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("asked", "engine", "call"),
    [
        ({}, "inline", ""),
        ({"workers": 1}, "inline", ", workers=1"),
        ({"workers": 3}, "processes", ", workers=3"),
        ({"engine": "processes"}, "processes", ", engine='processes'"),
        ({"engine": "processes", "per_device": 2, "device": "cuda"}, "processes", None),
        (RAY | {"ray_address": "head:6379"}, "ray", ", engine='ray', ray_address='head:6379'"),
    ],
)
def test_what_is_asked_for_is_what_the_study_is_carried_out_with(
    study: Any, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], engine: str, call: str | None
) -> None:
    """And it stands in the call that is kept with the results."""
    given: list[Options] = []
    monkeypatch.setattr(api, "run_study", lambda study, options, progress: given.append(options))
    monkeypatch.setattr(api, "_report", lambda folder: folder)
    harness.run(study, results="results", quiet=True, **asked)
    (options,) = given
    assert options == Options(results=Path("results").absolute(), command=options.command, **asked | {"engine": engine})
    if call is not None:
        assert options.command == f"harness.run(harness.load_study('depth', scale='smoke'){call})"


def test_results_of_other_code_are_set_aside_or_mixed_but_not_both() -> None:
    with pytest.raises(InvalidInput, match=r"either set aside .* or kept beside new ones .* Give one of them"):
        Options(results=Path("results"), set_aside=True, accept_code_change=True)
