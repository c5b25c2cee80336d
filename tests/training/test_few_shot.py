"""Few-shot linear evaluation: its closed form, its draws, its features, and that an interruption changes nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from test_resume import stopped
from torch import nn
from training_cases import RESNET, VIT, carry_out, make_config

from harness.data import content_hash, derive, load, resolve
from harness.data.splits import Split
from harness.spec import DataSpec, InvalidInput, SwinSpec
from harness.spec.few_shot import FewShot
from harness.training import few_shot
from harness.training.few_shot import least_squares

TARGET, _ = resolve(DataSpec(source="digits", split_seed=1))
ASKED = FewShot(data=TARGET, shots=(2, 5), draws=3)


def config_of(model: Any = VIT, asked: FewShot = ASKED, **changes: Any) -> Any:
    config = make_config(model, updates=4, **changes)
    return replace(config, few_shot=asked, few_shot_hash=content_hash(asked.data))


def by_ridge(features: np.ndarray, labels: np.ndarray, tested: np.ndarray, classes: int, l2: float) -> np.ndarray:
    """scikit-learn's ridge regression on normalised features beside a constant of 100."""
    mean, deviation = features.mean(0), features.std(0) + 1e-5
    x, new = (np.c_[(part - mean) / deviation, np.full(len(part), 100.0)] for part in (features, tested))
    model = Ridge(alpha=l2, fit_intercept=False, solver="svd").fit(x, np.where(np.eye(classes)[labels] > 0, 1.0, -1.0))
    return model.predict(new).argmax(1)


@pytest.mark.parametrize(("images", "width"), [(20, 7), (20, 50)])
@pytest.mark.parametrize("l2", [0.5, 1024.0])
def test_the_closed_form_is_the_ridge_regression_of_scikit_learn(images: int, width: int, l2: float) -> None:
    rng = np.random.default_rng(0)
    features, tested = rng.normal(3, 2, (images, width)), rng.normal(3, 2, (400, width))
    labels = rng.permutation(np.arange(images) % 4)
    found = least_squares(torch.tensor(features), torch.tensor(labels), torch.tensor(tested), 4, l2)
    np.testing.assert_array_equal(found, by_ridge(features, labels, tested, 4, l2))


def test_features_of_separate_classes_are_learned_from_two_images_each() -> None:
    centres = torch.eye(5) * 10
    features, labels = centres.repeat_interleave(2, 0) + 0.1 * torch.randn(10, 5), torch.arange(5).repeat_interleave(2)
    assert torch.equal(least_squares(features, labels, centres[[3, 1, 4]], 5, 1024.0), torch.tensor([3, 1, 4]))


class Same(nn.Identity):
    weight = torch.ones(1)  # of whose type a Swin makes its tokens


SWIN = SwinSpec(patch_size=2, width=8, depths=(2,), heads=(2,), window=2)


@pytest.mark.parametrize(
    ("model", "head"), [(VIT, "head"), (RESNET, "fc"), (SWIN, "head")], ids=["vit", "resnet", "swin"]
)
def test_a_run_has_the_mean_accuracy_over_its_draws(tmp_path, monkeypatch, model, head) -> None:
    """Found again from the weights: features of a model without its head, scikit-learn's regression, the same draws."""
    config = config_of(model, seed=3)
    done = carry_out(config, tmp_path, monkeypatch)
    bare, inputs = done.training.model, done.training.inputs
    assert bare.training
    setattr(bare, head, Same())
    bare.eval()
    target = load(TARGET, phase="confirm", seed=3)
    with torch.no_grad():
        features, tested = (bare(inputs(split.images)).numpy() for split in (target.train, target.test))
    labels, answers = target.train.labels.numpy(), target.test.labels.numpy()
    for shots, told in zip((2, 5), done.result.few_shots, strict=True):
        shares = []
        for draw in range(3):
            rng = np.random.default_rng(derive(3, "few_shot", draw))
            chosen = np.concatenate([rng.permutation(np.flatnonzero(labels == of))[:shots] for of in range(10)])
            found = by_ridge(features[chosen], labels[chosen], tested, 10, 1024.0)
            shares.append((found == answers).mean())
        assert told.shots == shots
        assert told.accuracy == pytest.approx(np.mean(shares), abs=2e-3)  # a batch of another size has other digits


def test_all_arms_of_a_seed_learn_from_the_same_images(tmp_path, monkeypatch) -> None:
    read: list[torch.Tensor] = []
    monkeypatch.setattr(few_shot, "load", lambda *given, **named: Spied(load(*given, **named), read))
    for number, config in enumerate([config_of(), config_of(RESNET), config_of(seed=1)]):
        carry_out(config, tmp_path / str(number), monkeypatch)
    one, other, third = read
    assert torch.equal(one, other)
    assert not torch.equal(one, third)


class Spied:
    """A data set that tells which images of its training part are read."""

    def __init__(self, dataset: Any, read: list[torch.Tensor]) -> None:
        self._dataset, self._read = dataset, read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    @property
    def train(self) -> Any:
        whole, read = self._dataset.train, self._read

        class Told(Split):
            def read(self, orders: Any, **named: Any) -> Any:
                orders = list(orders)
                read.append(torch.cat(orders))
                return super().read(orders, **named)

        return Told(whole.images, whole.labels)


def test_images_to_learn_from_are_read_as_those_of_the_test_part(tmp_path, monkeypatch) -> None:
    """Without the random crops that a training on such a set would see."""

    class Cropped(Split):
        crops = True

        def read(self, orders: Any, **named: Any) -> Any:
            pytest.fail("crops were read")

        def as_evaluated(self) -> Any:
            return Split(self.images, self.labels)

    class Target:
        def __init__(self, dataset: Any) -> None:
            self._dataset = dataset
            self.train = Cropped(dataset.train.images, dataset.train.labels)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._dataset, name)

    expected = carry_out(config_of(), tmp_path / "whole", monkeypatch).result.few_shots
    monkeypatch.setattr(few_shot, "load", lambda *given, **named: Target(load(*given, **named)))
    assert carry_out(config_of(), tmp_path / "cropped", monkeypatch).result.few_shots == expected


@pytest.mark.parametrize("update", [2, 4])
def test_a_stopped_run_ends_with_the_same_accuracies(tmp_path, monkeypatch, update) -> None:
    config = config_of(ema_decay=0.9)
    whole = carry_out(config, tmp_path / "whole", monkeypatch)
    assert len(whole.result.few_shots) == 2
    assert stopped(config, tmp_path / "stopped", monkeypatch, update).result() is None
    assert carry_out(config, tmp_path / "stopped", monkeypatch).everything == whole.everything


def test_the_evaluation_changes_nothing_else(tmp_path, monkeypatch) -> None:
    with_it = carry_out(config_of(), tmp_path / "with", monkeypatch).everything
    without = carry_out(make_config(updates=4), tmp_path / "without", monkeypatch).everything
    assert with_it[:3] == without[:3]
    few = with_it[3].pop("few_shots")
    assert not without[3].pop("few_shots")
    assert few
    assert {**with_it[3], "digest": ""} == {**without[3], "digest": ""}


def test_grey_images_are_repeated_for_a_model_of_colours(tmp_path, monkeypatch) -> None:
    rng = np.random.default_rng(0)
    colours = {f"{part}_images": rng.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8) for part in ("train", "test")}
    labels = {f"{part}_labels": np.arange(60) % 3 for part in ("train", "test")}
    np.savez(tmp_path / "colours.npz", **colours, **labels)
    data, facts = resolve(DataSpec(source=f"npz:{tmp_path / 'colours.npz'}"))
    config = replace(config_of(), data=data, data_hash=content_hash(data), channels=3, classes=facts.classes)
    assert facts.channels == 3
    done = carry_out(config, tmp_path, monkeypatch)
    assert done.result.few_shots[1].accuracy > 0.2  # of ten classes, by features that are hardly trained


def test_a_class_with_fewer_images_than_shots_is_refused_before_training(tmp_path, monkeypatch) -> None:
    """Also where the mean class has enough: the smallest one counts."""
    rng = np.random.default_rng(0)
    labels = np.array([0] * 40 + [1] * 4)
    parts = {f"{part}_images": rng.integers(0, 256, (44, 8, 8), dtype=np.uint8) for part in ("train", "test")}
    np.savez(tmp_path / "uneven.npz", **parts, train_labels=labels, test_labels=labels)
    uneven, _ = resolve(DataSpec(source=f"npz:{tmp_path / 'uneven.npz'}", validation_size=4))
    with pytest.raises(InvalidInput, match=r"few_shot.shots is \(2, 5\), but npz:.* has 3 training images of a class"):
        carry_out(config_of(asked=replace(ASKED, data=uneven)), tmp_path, monkeypatch)
