"""A profile leaves the run as it is, and says where the time of its updates goes."""

import gzip
import json
from dataclasses import replace

import pytest
from training_cases import SETTINGS, carry_out, make_config

from harness.spec import Distillation, ResNetSpec
from harness.training.profiling import TABLE, TRACE


@pytest.mark.slow
def test_a_profile_changes_nothing_of_the_run(tmp_path, monkeypatch, digits):
    config = make_config()
    plain = carry_out(config, tmp_path / "plain", monkeypatch)
    profiled = carry_out(config, tmp_path / "profiled", monkeypatch, replace(SETTINGS, profile=True))
    assert profiled.everything == plain.everything
    names = [{path.name for path in done.folder.path.iterdir()} for done in (plain, profiled)]
    assert names[1] - names[0] == {TABLE, TRACE}
    assert str(profiled.folder.path / TABLE) in profiled.log


@pytest.mark.slow
def test_the_table_has_the_ten_costliest_operations_and_the_trace_the_updates(tmp_path, monkeypatch, digits):
    done = carry_out(make_config(), tmp_path, monkeypatch, replace(SETTINGS, profile=True))
    lines = (done.folder.path / TABLE).read_text().splitlines()
    assert lines[0].endswith("10 updates of 16 images, fp32, 1 thread")
    rules = [place for place, line in enumerate(lines) if line.startswith("----")]
    rows = lines[rules[1] + 1 : rules[2]]
    assert len(rows) == 10
    assert any("aten::" in row for row in rows)
    with gzip.open(done.folder.path / TRACE) as file:
        events = json.load(file)["traceEvents"]
    backward = [event for event in events if event.get("name") == "Optimizer.step#AdamW.step"]
    assert len(backward) == 10


def test_runs_shorter_than_a_profile_and_runs_with_a_teacher_have_one_too(tmp_path, monkeypatch, digits):
    teacher = Distillation(teacher=ResNetSpec(depth=8, width=4), learning_rate=1e-3)
    config = make_config(updates=3, evaluations=1, distillation=teacher)
    done = carry_out(config, tmp_path, monkeypatch, replace(SETTINGS, profile=True))
    assert (done.folder.path / TABLE).read_text().splitlines()[0].endswith("3 updates of 16 images, fp32, 1 thread")
