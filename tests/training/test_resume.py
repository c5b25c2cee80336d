"""A training that was stopped, killed or damaged ends as an undisturbed one, to the bit."""

import json
import os
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from training_cases import RESNET, SETTINGS, VIT, Killed, StopAt, carry_out, folder_of, make_config

from harness.records.files import sha256, write_bytes, write_json
from harness.spec import Augmentation, Distillation
from harness.training import checkpoint
from harness.training.state import Interrupted

EVERYTHING = {
    "optimizer": "muon",
    "ema_decay": 0.9,
    "label_smoothing": 0.1,
    "accumulate": 2,
    "augmentation": Augmentation(shift=1, mixup=0.2, cutmix=1.0),
}
STATEFUL = make_config(replace(VIT, dropout=0.1, attention_dropout=0.1, stochastic_depth=0.2), **EVERYTHING)
CONVOLUTIONS = make_config(RESNET, **EVERYTHING | {"precision": "bf16"})
TWICE = make_config(RESNET, optimizer="schedule_free", schedule="constant", sam_radius=0.05)
PLAIN = make_config()
OFTEN = replace(SETTINGS, checkpoint_seconds=0)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        return {
            config: carry_out(config, tmp_path_factory.mktemp("undisturbed"), patch).everything
            for config in (STATEFUL, CONVOLUTIONS, TWICE, PLAIN)
        }


def stopped(config, root, monkeypatch, update, settings=SETTINGS):
    """The run's folder after it was asked to stop after `update`."""
    stop = StopAt(update)
    with pytest.raises(Interrupted):
        carry_out(config, root, monkeypatch, settings, heartbeat=stop.heartbeat, stop=stop)
    assert stop.seen == update
    return folder_of(config, root)


@pytest.mark.parametrize("update", range(1, 13))
def test_stopped_after_any_update(tmp_path, monkeypatch, undisturbed, update):
    folder = stopped(STATEFUL, tmp_path, monkeypatch, update)
    assert folder.result() is None
    done = carry_out(STATEFUL, tmp_path, monkeypatch)
    assert f"Resumed after update {update} from checkpoint-{update:09d}.pt." in done.log
    assert done.everything == undisturbed[STATEFUL]


@pytest.mark.parametrize("update", [1, 4, 7])
def test_convolutions_and_bf16_resume_too(tmp_path, monkeypatch, undisturbed, update):
    stopped(CONVOLUTIONS, tmp_path, monkeypatch, update)
    assert carry_out(CONVOLUTIONS, tmp_path, monkeypatch).everything == undisturbed[CONVOLUTIONS]


@pytest.mark.parametrize("update", [1, 5])
def test_averages_and_second_passes_resume_too(tmp_path, monkeypatch, undisturbed, update):
    stopped(TWICE, tmp_path, monkeypatch, update)
    assert carry_out(TWICE, tmp_path, monkeypatch).everything == undisturbed[TWICE]


def test_stopped_again_and_again(tmp_path, monkeypatch, undisturbed):
    for update in (2, 3, 7, 8, 11):
        stopped(STATEFUL, tmp_path, monkeypatch, update)
    assert carry_out(STATEFUL, tmp_path, monkeypatch).everything == undisturbed[STATEFUL]


def test_a_run_of_its_own_images_goes_on_with_them(tmp_path, monkeypatch):
    """Whatever follows from the images: the batches, the normalisation, the teacher, the tests."""
    taught = Distillation(teacher=RESNET, learning_rate=2e-2, weight_decay=0.01)
    config = replace(make_config(seed=3, distillation=taught), test_shifts=(1,))
    config = replace(config, data=replace(config.data, resplit=True, moved_share=0.5, moved_patch=2))
    whole = carry_out(config, tmp_path / "whole", monkeypatch).everything
    stopped(config, tmp_path / "stopped", monkeypatch, 5)
    assert carry_out(config, tmp_path / "stopped", monkeypatch).everything == whole
    fixed = replace(config, data=replace(config.data, resplit=False))
    assert carry_out(fixed, tmp_path / "fixed", monkeypatch).everything[0] != whole[0]


@pytest.mark.parametrize("update", [1, 5, 9, 12])
def test_killed_without_a_word(tmp_path, monkeypatch, undisturbed, update):
    """Nothing is saved at the end: the last checkpoint, one update back, serves."""

    def die(now):
        if now == update:
            raise Killed

    with pytest.raises(Killed):
        carry_out(PLAIN, tmp_path, monkeypatch, OFTEN, heartbeat=die)
    done = carry_out(PLAIN, tmp_path, monkeypatch)
    assert ("Resumed" in done.log) == (update > 1)
    assert done.everything == undisturbed[PLAIN]


def test_journal_lines_beyond_the_checkpoint_are_forgotten(tmp_path, monkeypatch, undisturbed):
    folder = stopped(PLAIN, tmp_path, monkeypatch, 5)
    with folder.journal_path.open("a") as file:
        file.write('{"event": "evaluated", "time": 0, "update": 8, "train_loss": 9.0}\n{"event": "evalu')
    done = carry_out(PLAIN, tmp_path, monkeypatch)
    assert len(done.journal) == 4
    assert done.everything == undisturbed[PLAIN]


def test_a_checkpoint_taken_after_a_rewind_is_whole(tmp_path, monkeypatch, undisturbed):
    """The journal's length is what it is on disk, not where the process last wrote or opened it."""
    folder = stopped(PLAIN, tmp_path, monkeypatch, 5)
    with folder.journal_path.open("a") as file:
        file.write('{"event": "evaluated", "time": 0, "update": 8, "train_loss": 9.0}\n' * 3)
    stopped(PLAIN, tmp_path, monkeypatch, 6)
    done = carry_out(PLAIN, tmp_path, monkeypatch)
    assert "set aside" not in done.log
    assert done.everything == undisturbed[PLAIN]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def cut_manifest(path):
    manifest = path.with_suffix(".json")
    manifest.write_bytes(manifest.read_bytes()[:20])


def lose_manifest(path):
    path.with_suffix(".json").unlink()


def edit(**changes):
    def change(path):
        manifest = path.with_suffix(".json")
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))

    return change


def made_by(**changes):
    """As if it had been made elsewhere, or with something else."""

    def change(path):
        content = json.loads(path.with_suffix(".json").read_text())
        edit(made_by=content["made_by"] | changes)(path)

    return change


def piped(path):
    """Opening it waits for ever."""
    path.unlink()
    os.mkfifo(path)


DAMAGES = {
    "a bit flipped": flip,
    "cut": cut,
    "empty": empty,
    "manifest cut": cut_manifest,
    "manifest lost": lose_manifest,
    "manifest of a list": lambda path: path.with_suffix(".json").write_text("[]"),
    "longer journal": edit(journal_bytes=10**6),
    "no length": edit(journal_bytes=None),
    "other code": made_by(code="0" * 16),
    "other device": made_by(device="cuda"),
    "other precision": made_by(precision="bf16"),
    "other torch": made_by(torch="2.0.0"),
    "other threads": made_by(threads=64),
    "unknown maker": edit(made_by=None),
}


@pytest.mark.parametrize("damage", [*DAMAGES.values(), piped], ids=[*DAMAGES, "a pipe"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, monkeypatch, undisturbed, damage):
    folder = stopped(STATEFUL, tmp_path, monkeypatch, 7, OFTEN)
    assert {path.stem for path in folder.path.glob("*.pt")} == {"checkpoint-000000006", "checkpoint-000000007"}
    damage(folder.path / "checkpoint-000000007.pt")
    done = carry_out(STATEFUL, tmp_path, monkeypatch)
    assert "checkpoint-000000007.pt cannot be used and was set aside; looking for the one before." in done.log
    assert "Resumed after update 6 from checkpoint-000000006.pt." in done.log
    assert (folder.path / "damaged" / "checkpoint-000000007.pt.0").exists()
    assert done.everything == undisturbed[STATEFUL]


@pytest.mark.parametrize("damage", ["a bit flipped", "manifest cut", "manifest lost", "longer journal", "other code"])
def test_without_a_whole_checkpoint_the_run_starts_again(tmp_path, monkeypatch, undisturbed, damage):
    folder = stopped(STATEFUL, tmp_path, monkeypatch, 7, OFTEN)
    contents = set()
    for path in folder.path.glob("*.pt"):
        DAMAGES[damage](path)
        contents.add(path.read_bytes())
    done = carry_out(STATEFUL, tmp_path, monkeypatch)
    assert "Resumed" not in done.log
    assert {path.read_bytes() for path in (folder.path / "damaged").glob("*.pt.*")} == contents
    assert done.everything == undisturbed[STATEFUL]


def test_what_a_checkpoint_was_made_with_is_named(tmp_path, monkeypatch):
    folder = stopped(PLAIN, tmp_path, monkeypatch, 7)
    made_by(torch="2.0.0", threads=64)(folder.path / "checkpoint-000000007.pt")
    log = carry_out(PLAIN, tmp_path, monkeypatch).log
    assert f"it was made with torch 2.0.0 (now {torch.__version__}), threads 64 (now 1)" in log


def test_a_state_that_fits_in_part_leaves_no_trace(tmp_path, monkeypatch, undisturbed):
    """Its hash is right and its weights load, but not its optimisers: nothing of it may stay in the training."""
    path = stopped(STATEFUL, tmp_path, monkeypatch, 7).path / "checkpoint-000000007.pt"
    state = torch.load(path, weights_only=True)
    torch.save(state | {"optimizers": []}, path)
    edit(sha256=sha256(path.read_bytes()))(path)
    done = carry_out(STATEFUL, tmp_path, monkeypatch)
    assert "cannot be used" in done.log
    assert done.everything == undisturbed[STATEFUL]


def test_a_lack_of_memory_while_resuming_condemns_no_checkpoint(tmp_path, monkeypatch):
    folder = stopped(PLAIN, tmp_path, monkeypatch, 7)

    def fail(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(checkpoint, "_restore", fail)
    done = carry_out(PLAIN, tmp_path, monkeypatch)
    assert done.result.status == "out_of_memory"
    assert not (folder.path / "damaged").exists()


@pytest.mark.parametrize("write", ["write_bytes", "write_json"])
def test_killed_within_a_checkpoint(tmp_path, monkeypatch, undisturbed, write):
    """Between its two files; the unfinished one is no damage, and no temporary file stays."""
    calls = []

    def die(path, content):
        calls.append(path)
        if len(calls) == 3:
            (path.parent / f".{path.name}.abc.tmp").write_bytes(b"half a checkp")
            raise Killed
        {"write_bytes": write_bytes, "write_json": write_json}[write](path, content)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, write, die)
        with pytest.raises(Killed):
            carry_out(PLAIN, tmp_path, patch, OFTEN)
    done = carry_out(PLAIN, tmp_path, monkeypatch)
    assert "Resumed after update 2" in done.log
    assert "set aside" not in done.log
    assert {path.name for path in done.folder.path.iterdir()} == {
        "config.json", "journal.jsonl", "result.json", "predictions.npz", "log.txt", "model"
    }  # fmt: skip
    assert done.everything == undisturbed[PLAIN]


def test_killed_between_the_journal_and_the_result(tmp_path, monkeypatch, undisturbed):
    def die(folder, result):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("harness.records.runs.RunFolder.write_result", die)
        with pytest.raises(Killed):
            carry_out(PLAIN, tmp_path, patch, OFTEN)
    assert folder_of(PLAIN, tmp_path).journal()[-1]["event"] == "finished"
    assert carry_out(PLAIN, tmp_path, monkeypatch).everything == undisturbed[PLAIN]


def test_two_checkpoints_are_kept_and_only_when_due(tmp_path, monkeypatch):
    folder = stopped(PLAIN, tmp_path / "often", monkeypatch, 9, OFTEN)
    assert len(list(folder.path.glob("checkpoint-*.pt"))) == len(list(folder.path.glob("checkpoint-*.json"))) == 2
    folder = stopped(PLAIN, tmp_path / "once", monkeypatch, 9)
    assert [path.name for path in folder.path.glob("checkpoint-*.pt")] == ["checkpoint-000000009.pt"]


@pytest.mark.parametrize(
    ("every", "takes", "due_after"), [(30.0, 0.5, 30.0), (30.0, 6.0, 120.0), (30.0, 100.0, 600.0), (0.0, 6.0, 0.0)]
)
def test_a_state_that_takes_long_to_keep_is_kept_more_rarely(tmp_path, monkeypatch, every, takes, due_after):
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(checkpoint, "_state", lambda training: {})

    def write(*_):
        clock.now += takes

    monkeypatch.setattr(checkpoint, "_write", write)
    kept = checkpoint.CheckpointFolder(tmp_path, SimpleNamespace(length=0), every_seconds=every, say=print)
    training = SimpleNamespace(update=1, placement=None)
    clock.now += every
    assert kept.is_due(training)
    kept.save(training)
    clock.now += due_after
    assert kept.is_due(training)
    if due_after:
        clock.now -= 0.1
        assert not kept.is_due(training)
