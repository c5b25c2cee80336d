"""`patchbench bench` as a user types it."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
import torch
from bench_rows import made_row
from click.testing import CliRunner

from harness.__main__ import cli
from harness.bench import benchmark, contestants
from harness.bench.benchmark import bench
from harness.records.files import read_json
from harness.spec import InvalidInput


def nothing(text):
    """Says nothing."""


def test_an_unknown_part_is_refused_with_the_valid_ones():
    found = CliRunner().invoke(cli, ["bench", "roofline"])
    assert found.exit_code == 2
    assert "'roofline' is not one of 'step', 'data', 'study'" in found.output


@pytest.mark.parametrize(
    ("missing", "said"),
    [({"timm"}, "timm"), ({"timm", "vit_pytorch"}, "timm and vit-pytorch")],
)
def test_a_missing_library_ends_it_before_any_work(tmp_path, monkeypatch, missing, said):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else found(name))
    monkeypatch.setattr(benchmark, "race", lambda heat: pytest.fail("something was measured"))
    with pytest.raises(InvalidInput, match=f"lacks {said}. Use `make bench`.*bench.'"):
        bench((), output=tmp_path / "bench", quick=True, say=nothing)
    assert not (tmp_path / "bench").exists()


def test_parts_measured_one_by_one_stand_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(contestants, "load", lambda spec: None)
    monkeypatch.setattr(benchmark, "race", lambda heat: [made_row(part=heat.part, rounds=heat.rounds)])
    bench(("data",), output=tmp_path, quick=False, say=nothing)
    shown, files = bench(("step",), output=tmp_path, quick=False, say=nothing)
    bench(("step",), output=tmp_path, quick=True, say=nothing)
    (path,) = (path for path in files if path.suffix == ".json")
    kept = read_json(path)
    assert [row["part"] for row in kept["rows"]] == [*5 * ["step"], *2 * ["data"]]  # a row for each heat
    assert set(kept["parts"]) == {"step", "data"}
    assert len(shown) == 3
    assert {"cpu", "cores", "instructions"} <= set(kept["machine"])
    assert {"load_before", "load_after", "versions", "git_revision", "settings"} <= set(kept["parts"]["step"])
    assert {"timm", "vit-pytorch", "torch"} <= set(kept["parts"]["step"]["versions"])
    quick = sorted(file.name for file in tmp_path.iterdir() if "-quick." in file.name)
    assert [name.rpartition(".")[2] for name in quick] == ["json", "md"]
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_quick_look_from_the_command_line(tmp_path):
    arguments = [sys.executable, "-m", "harness", "bench", "study", "--quick", "--output", str(tmp_path)]
    started_by_a_study = os.environ | {"PATCHBENCH_COORDINATOR": "1"}  # of which it inherits what its workers are told
    done = subprocess.run(arguments, env=started_by_a_study, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "A study of 12 trainings" in done.stdout
    (path,) = tmp_path.glob("*-quick.json")
    rows = json.loads(path.read_text())["rows"]
    assert {(row["part"], row["what"].partition(" ")[0]) for row in rows} == {("study", "2")}
    assert all(
        row["value"] > 0 and row["other_value"] > 0 and row["low"] <= row["ratio"] <= row["high"] for row in rows
    )


@pytest.mark.slow
def test_everybody_gets_from_data_to_weights():
    """Each contender of the part `data` takes two steps, in this process; the usual stack's give their loss."""
    settings = contestants.Settings(quick=True, device="cpu", threads=(1,), precisions=("fp32",), rounds=1, seconds=0.0)
    (heat,) = contestants.data(settings)
    assert len({contender.name for contender in heat.contenders}) == 4
    for contender in heat.contenders:
        step = contender.make()
        losses = [step(), step()]
        assert contender.name == contestants.OWN or torch.stack(losses).isfinite().all(), contender.name
