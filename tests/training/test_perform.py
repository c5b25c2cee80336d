"""One run from its folder to its result: what is kept, divergence, lack of memory, and the sealed test split."""

import json
import math
import os
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from training_cases import (
    RESNET,
    SETTINGS,
    VIT,
    StopAt,
    carry_out,
    changed,
    folder_of,
    make_config,
    train,
)

from harness.data import Dataset, load
from harness.data.augmentation import augment
from harness.models import attention_macs_per_image, macs_per_image, parameters
from harness.records import provenance
from harness.records.files import sha256
from harness.spec import Distillation, InvalidInput, to_plain
from harness.training import loop, state
from harness.training.device import Placement, available_devices, choose


@pytest.mark.parametrize("model", [VIT, RESNET], ids=["vit", "resnet"])
def test_a_confirm_run_leaves_its_whole_record(tmp_path, monkeypatch, digits, model):
    config = make_config(model)
    done = carry_out(config, tmp_path, monkeypatch)
    folder, result = done.folder, done.result
    names = {path.name for path in folder.path.iterdir()}
    assert names == {"config.json", "journal.jsonl", "result.json", "predictions.npz", "log.txt", "model"}
    assert folder.result() == result
    assert folder.config() == {
        "digest": config.digest,
        "arm": "ViT",
        "trial": None,
        "values": {"learning_rate": 3e-3},
        "config": to_plain(config),
    }
    assert [event["event"] for event in done.journal] == ["evaluated"] * 3 + ["finished"]
    assert result.status == "completed"
    assert [name for name, value in vars(result).items() if value is None] == []
    assert (result.updates, result.images_seen) == (12, 192)
    assert result.params == parameters(done.training.model)
    assert result.macs_per_image == macs_per_image(model, image_size=8, channels=1, classes=10)
    assert result.attention_macs_per_image == attention_macs_per_image(model, image_size=8, channels=1, classes=10)
    assert (result.attention_macs_per_image > 0) == (model is VIT)
    assert result.train_images_per_second == pytest.approx(192 / result.train_seconds)
    assert (result.device, result.precision) == ("cpu", "fp32")
    assert result.code_fingerprint == provenance.code_fingerprint()
    assert result.environment["threads"] == 1
    assert result.environment["torch"] == provenance.versions()["torch"]
    paths = (folder.predictions_path, folder.journal_path)
    assert result.files == {path.name: sha256(path.read_bytes()) for path in paths}
    last = done.journal[2]
    assert (result.train_loss, result.validation_loss) == (last["train_loss"], last["validation_loss"])
    labels, predicted = folder.answers()[0]
    assert np.array_equal(labels, digits.test.labels.numpy())
    assert result.test_accuracy == np.mean(labels == predicted)
    recalls = [np.mean(predicted[labels == label] == label) for label in range(10)]
    assert result.balanced_accuracy == pytest.approx(np.mean(recalls))
    assert result.top5_accuracy == np.mean(folder.answers()[1]) > result.test_accuracy
    assert done.journal[3]["test_accuracy"] == result.test_accuracy
    assert "completed" in done.log


def test_a_tuning_run_has_no_test_numbers(tmp_path, monkeypatch):
    done = carry_out(make_config(phase="tune"), tmp_path, monkeypatch)
    unreached = [name for name, value in vars(done.result).items() if value is None]
    assert unreached == [
        *("test_accuracy", "test_loss", "balanced_accuracy", "top5_accuracy", "eval_images_per_second")
    ]
    assert done.result.files == {"journal.jsonl": sha256(done.folder.journal_path.read_bytes())}
    assert not done.folder.predictions_path.exists()
    assert done.result.validation_accuracy == done.journal[2]["validation_accuracy"]


class TestReadings:
    """Stands in for `Dataset.test` and records the updates after which it was read."""

    __test__ = False

    def __init__(self, monkeypatch):
        self.update, self.read_at = 0, []
        sealed = Dataset.test.fget

        def test(dataset):
            self.read_at.append(self.update)
            return sealed(dataset)

        monkeypatch.setattr(Dataset, "test", property(test))

    def heartbeat(self, update):
        self.update = update


DISTILLED = {"distillation": Distillation(teacher=RESNET, learning_rate=3e-3)}


@pytest.mark.parametrize("shifts", [(), (1, 2)], ids=["plain", "shifted"])
@pytest.mark.parametrize("recipe", [{}, DISTILLED], ids=["labels", "teacher"])
@pytest.mark.parametrize(("phase", "read_at"), [("tune", []), ("confirm", [12])])
def test_the_test_split_is_read_once_after_the_last_update_of_a_confirm_run(
    tmp_path, monkeypatch, phase, read_at, recipe, shifts
):
    readings = TestReadings(monkeypatch)
    config = replace(make_config(phase=phase, **recipe), test_shifts=shifts)
    done = carry_out(config, tmp_path, monkeypatch, heartbeat=readings.heartbeat)
    assert readings.read_at == read_at
    assert len(done.result.shifts) == (len(shifts) if phase == "confirm" else 0)


def test_the_test_split_is_not_to_be_had_in_the_tune_phase():
    config = make_config(phase="tune")
    dataset = load(config.data, phase="tune")
    with pytest.raises(RuntimeError, match="selection may use validation only"):
        train(changed(config, "phase", "confirm"), dataset)


def test_changed_data_is_no_result(tmp_path, monkeypatch):
    config = changed(make_config(), "data_hash", "0" * 64)
    told = r"^The images of digits are not those that the study was planned with \(SHA-256 0{12}, now [0-9a-f]{12}\)\. "
    with pytest.raises(InvalidInput, match=told):
        carry_out(config, tmp_path, monkeypatch)
    assert folder_of(config, tmp_path).result() is None


def test_another_error_passes_and_leaves_no_result(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(loop, "build", fail)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        carry_out(make_config(), tmp_path, monkeypatch)
    folder = folder_of(make_config(), tmp_path)
    assert folder.result() is None
    assert folder.journal() == []


class Poison:
    """Makes the images of one update NaN."""

    def __init__(self, monkeypatch, update):
        self.update, self.calls = update, 0
        monkeypatch.setattr(loop, "augment", self)

    def __call__(self, *arguments, **named):
        self.calls += 1
        images, labels = augment(*arguments, **named)
        return (images * math.nan if self.calls == self.update else images), labels


@pytest.mark.parametrize("update", [1, 3, 4, 5, 11, 12])
def test_a_poisoned_batch_ends_in_a_result_within_two_updates(tmp_path, monkeypatch, update):
    poison = Poison(monkeypatch, update)
    done = carry_out(make_config(clip_norm=None), tmp_path, monkeypatch)
    assert poison.calls <= update + 1
    assert done.result.status == "diverged"
    where = "the first block that was not finite is block 1 of 2"
    assert done.result.reason == f"the training loss became nan at update {update}; {where}"
    assert (done.result.updates, done.result.images_seen) == (update, 16 * update)
    assert done.folder.result() == done.result
    assert [event["event"] for event in done.journal] == ["evaluated"] * ((update - 1) // 4) + ["finished"]
    assert done.journal[-1]["status"] == "diverged"
    assert done.journal[-1]["reason"] == done.result.reason
    assert done.result.test_accuracy is None
    assert "diverged" in done.log


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_an_absurd_learning_rate_diverges(tmp_path, monkeypatch, optimizer):
    seen = []
    config = make_config(optimizer=optimizer, learning_rate=1e30, warmup=0.0)
    done = carry_out(config, tmp_path, monkeypatch, heartbeat=seen.append)
    assert done.result.status == "diverged"
    assert max(seen, default=0) <= 3


@pytest.mark.parametrize(("update", "evaluations"), [(4, 0), (8, 1), (12, 2)])
def test_weights_that_blow_up_just_before_an_evaluation_are_a_divergence(tmp_path, monkeypatch, update, evaluations):
    """The training loss before the update was finite; only the evaluation sees what the update did."""
    rates = [1e30 if at == update - 1 else 1e-3 for at in range(12)]
    monkeypatch.setattr(loop, "learning_rates", lambda recipe, updates: rates)
    done = carry_out(make_config(optimizer="sgd"), tmp_path, monkeypatch)
    assert done.result.status == "diverged"
    assert done.result.reason.startswith("the validation loss became")
    assert done.result.updates == update
    assert len(done.journal) == evaluations + 1


def test_a_divergence_is_the_same_after_an_interruption_in_between(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        Poison(patch, 5)
        undisturbed = carry_out(make_config(clip_norm=None), tmp_path / "a", patch)
    with monkeypatch.context() as patch:
        Poison(patch, 5)
        stop = StopAt(5)
        with pytest.raises(state.Interrupted):
            carry_out(make_config(clip_norm=None), tmp_path / "b", patch, heartbeat=stop.heartbeat, stop=stop)
        resumed = carry_out(make_config(clip_norm=None), tmp_path / "b", patch)
    reason = "the training loss became nan at update 5; the first block that was not finite is block 1 of 2"
    assert resumed.result.reason == undisturbed.result.reason == reason
    assert resumed.journal == undisturbed.journal


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB.\nMore"), "CUDA out of memory. Tried 2 GiB."),
        (torch.OutOfMemoryError(), "no memory is left"),
        (MemoryError(), "no memory is left"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), None),
        (RuntimeError("CUDA error: out of memory"), None),
        (RuntimeError("NCCL error: ... Cuda failure 2 'out of memory'"), None),
    ],
    ids=["device", "device, no words", "host", "cuBLAS", "CUDA", "NCCL"],
)
def test_a_lack_of_memory_is_a_result(tmp_path, monkeypatch, error, reason):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(loop, "build", fail)
    done = carry_out(make_config(), tmp_path, monkeypatch)
    assert done.result.status == "out_of_memory"
    assert done.result.reason == (reason or str(error))
    assert done.folder.result() == done.result
    assert done.journal[-1]["status"] == "out_of_memory"


def test_a_model_that_no_machine_can_hold_is_out_of_memory(tmp_path, monkeypatch):
    """Its attention alone would take 200 TB, which the operating system refuses at once."""
    huge = replace(VIT, width=2**22, patch_size=8, pool="mean", position="none")
    done = carry_out(make_config(huge), tmp_path, monkeypatch)
    assert done.result.status == "out_of_memory"
    assert "allocate" in done.result.reason
    assert "\n" not in done.result.reason


def test_a_finished_run_keeps_no_checkpoints(tmp_path, monkeypatch):
    done = carry_out(make_config(), tmp_path, monkeypatch, replace(SETTINGS, checkpoint_seconds=0))
    assert list(done.folder.path.glob("checkpoint*")) == []


def test_an_unknown_device_lists_those_that_are_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert available_devices() == ["cpu"]
    for name in ("cuda", "cuda:1", "mps", "tpu"):
        with pytest.raises(InvalidInput) as caught:
            choose(name)
        assert str(caught.value) == f"Device {name!r} is not there; valid on this machine: auto, cpu."
    assert choose("auto").device == torch.device("cpu")


def test_auto_takes_the_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert choose("auto").device.type == "cuda"
    assert choose("cuda:1").device.index == 1
    assert choose("auto").precision == "fp32"
    with pytest.raises(InvalidInput, match="valid on this machine: auto, cpu, cuda, cuda:0, cuda:1"):
        choose("cuda:2")


@pytest.mark.parametrize(
    ("asked", "fast", "precision"),
    [("auto", True, "bf16"), ("auto", False, "fp32"), ("fp32", True, "fp32"), ("bf16", False, "bf16")],
)
def test_precision_is_bf16_where_it_is_asked_for_or_fast(monkeypatch, asked, fast, precision):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    assert choose("cpu", asked).precision == precision


def test_a_run_in_bf16_says_so_and_keeps_its_weights_in_fp32(tmp_path, monkeypatch):
    config = make_config(precision="bf16")
    done = carry_out(config, tmp_path, monkeypatch)
    assert done.result.precision == "bf16"
    assert {parameter.dtype for parameter in done.training.model.parameters()} == {torch.float32}
    plain = carry_out(make_config(), tmp_path, monkeypatch)
    assert done.result.validation_loss != plain.result.validation_loss
    assert done.result.validation_loss == pytest.approx(plain.result.validation_loss, rel=0.02)


def test_the_result_on_disk_is_plain_json(tmp_path, monkeypatch):
    done = carry_out(make_config(phase="tune"), tmp_path, monkeypatch)
    content = json.loads(done.folder.result_path.read_text(), parse_constant=pytest.fail)
    assert content["result"]["test_accuracy"] is None


def test_peak_memory_is_in_bytes_and_that_of_an_evaluation_is_its_own():
    placement = Placement(device=torch.device("cpu"), autocast_dtype=None)
    process = psutil.Process()
    before = process.memory_info().rss
    torch.ones(75 * 2**20)  # 300 MiB that a training has freed
    with placement.watching_evaluation():
        held = torch.ones(10 * 2**20)
        while_held = process.memory_info().rss
    peak, in_evaluation = placement.peak_memory_bytes(), placement.peaks.get("evaluation")
    assert held.nbytes < before + 280 * 2**20 < peak < 100e9
    if os.access("/proc/self/clear_refs", os.W_OK):
        # Not against `before`: what earlier tests had freed may go back to the system in between.
        assert while_held - 2**20 <= in_evaluation < while_held + 100 * 2**20 < peak
