"""Every arm's first update is tried before the first run, where the runs will be."""

import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from tiny_studies import RESNET, VIT, Witness, tiny_study
from torch import Tensor, nn

from harness.execution import progress, rehearsal
from harness.execution.engines import Rehearsal, processes
from harness.execution.plan import make_plan
from harness.execution.progress import open_cells
from harness.execution.rehearsal import forecast, rehearse
from harness.execution.runner import Options, run_study
from harness.models.swin_transformer import Swin
from harness.models.vit import ViT
from harness.spec import (
    Arm,
    Augmentation,
    Choice,
    Distillation,
    InvalidInput,
    Module,
    ResolvedStudy,
    Search,
    SwinSpec,
    ViTSpec,
)
from harness.spec.checks import replace_at
from harness.training.device import choose

SWIN = SwinSpec(patch_size=2, width=4, depths=(1, 1), heads=(2, 2), window=2)
EVERYTHING = {"accumulate": 3, "ema_decay": 0.9, "optimizer": "muon", "augmentation": Augmentation(mixup=0.2)}
TEACHER = {"recipe.distillation": Distillation(teacher=RESNET, learning_rate=1e-3)}


def arms() -> ResolvedStudy:
    taught = Arm("taught", replace(VIT, pool="cls", distillation_token=True), level=2, changes=TEACHER)
    study = tiny_study(arms=(Arm("ViT/4", VIT, level=4), Arm("Swin", SWIN, level=3), taught))
    return replace(study, recipe=replace(study.recipe, **EVERYTHING))


def rehearsals(study: ResolvedStudy) -> list[Rehearsal]:
    cells = make_plan(study).cells
    return [
        Rehearsal(arm=cell.arm.name, config=cell.confirm(0, cell.own_values).config, facts=cell.facts) for cell in cells
    ]


def breaks(monkeypatch: pytest.MonkeyPatch, model: type) -> None:
    def forward(self: Any, images: Any) -> Any:
        raise RuntimeError(f"no kernel for {len(images)} images\nand a second line")

    monkeypatch.setattr(model, "forward", forward)


@pytest.mark.parametrize("model", [ViT, Swin])
def test_what_a_first_update_finds_is_refused_with_the_arms_name(
    inline: Options, witness: Witness, monkeypatch: pytest.MonkeyPatch, model: type
) -> None:
    breaks(monkeypatch, model)
    arm = "ViT/4" if model is ViT else "Swin"
    message = (
        f"Arm {arm!r} cannot be trained: its first update, on images of 1 x 8 x 8 and 10 classes, fails with "
        "RuntimeError: no kernel for 2 images. Change the arm's model, data or recipe."
    )
    with pytest.raises(InvalidInput) as refused:
        run_study(arms(), inline, witness)
    assert str(refused.value) == message
    assert witness.trained == []
    assert not list(Path(inline.results).rglob("*"))
    with pytest.raises(InvalidInput, match=r"Arm .* cannot be trained: its first update"):
        forecast(make_plan(arms()), choose("cpu"), threads=1)


def pooled(image_size: int, channels: int, classes: int) -> nn.Module:
    """BatchNorm of a single pixel per channel."""
    maps = nn.Sequential(nn.Conv2d(channels, 4, image_size), nn.BatchNorm2d(4))
    return nn.Sequential(maps, nn.Flatten(), nn.Linear(4, classes))


class Squeezing(nn.Module):
    """Loses the dimension of a batch of one image."""

    def __init__(self, image_size: int, channels: int, classes: int) -> None:
        super().__init__()
        self.map = nn.Conv2d(channels, classes, image_size)

    def forward(self, images: Tensor) -> Tensor:
        return self.map(images).squeeze()


@pytest.mark.parametrize(
    ("build", "search", "message"),
    [
        (
            pooled,
            {"space": {"batch_size": Choice(values=(1, 16))}},
            "ValueError: Expected more than 1 value per channel",
        ),
        (
            pooled,
            {"space": {"accumulate": Choice(values=(1, 16))}},
            "ValueError: Expected more than 1 value per channel",
        ),
        (
            Squeezing,
            {},
            r"Squeezing made \(10,\) of images of shape \(1, 1, 8, 8\); it must make logits of shape \(1, 10",
        ),
    ],
)
def test_a_users_model_is_tried_on_the_smallest_part_of_a_batch_and_on_one_image(
    inline: Options, witness: Witness, build: Any, search: dict[str, Any], message: str
) -> None:
    study = tiny_study(arms=(Arm("own", Module(build=build)),), search=Search(**search))
    with pytest.raises(InvalidInput, match=rf"^Arm 'own'.*{message}"):
        run_study(study, inline, witness)
    assert witness.trained == []


@pytest.mark.slow
def test_where_runs_have_processes_of_their_own_it_is_tried_in_one() -> None:
    """A configuration that no study can be loaded with: BatchNorm with one number per channel."""
    tried = rehearsals(tiny_study())
    config = replace_at(replace_at(tried[0].config, "data.image_size", 4), "recipe.batch_size", 1)
    wrong = replace(tried[0], config=config)
    data = [tried[0].config.data]
    ready = processes.prepare(data, (), "cpu", tried)
    assert ready.devices == ("cpu",)
    with pytest.raises(InvalidInput, match=r"Arm 'ResNet' cannot be .* ValueError: Expected more than 1 value per"):
        processes.prepare(data, (), "cpu", [*tried, wrong])


def test_what_can_be_a_result_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lack of memory: 13 terabytes of weights. And a loss that is no number."""
    huge = ViTSpec(patch_size=4, width=2**20, depth=1, heads=2)
    rehearse(rehearsals(tiny_study(arms=(Arm("huge", huge, level=4),))), "cpu")
    monkeypatch.setattr("harness.models.vit.Attention.forward", lambda self, x, *rest: x * float("nan"))
    rehearse(rehearsals(tiny_study()), "cpu")


def test_a_process_that_takes_too_long_over_it_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = rehearsals(tiny_study())
    monkeypatch.setattr(processes, "LONGEST_REHEARSALS", 0.0)
    assert processes.prepare([tried[0].config.data], (), "cpu", tried).devices == ("cpu",)


def test_a_model_is_tried_once_for_all_training_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(rehearsal, "_try", lambda config, *rest: tried.append(config.model.kind))
    rehearse(rehearsals(tiny_study(train_sizes=(50, 100))), "cpu")
    assert tried == ["resnet", "vit"]


@pytest.mark.slow
def test_only_what_is_left_to_train_is_tried(again: Path) -> None:
    def left(study: ResolvedStudy) -> list[str]:
        return [item.arm for item in progress.rehearsals(open_cells(make_plan(study), again), [])]

    study = tiny_study()
    assert left(study) == []
    assert left(replace(study, arms=(*study.arms, Arm("Swin", SWIN, level=3)))) == ["Swin"]
    failed = [item for cell in open_cells(make_plan(study), again) for item in cell.finished()][:1]
    assert [item.arm for item in progress.rehearsals(open_cells(make_plan(study), again), failed)] == ["ResNet"]


def test_a_model_is_let_go_of_before_the_next_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card that holds one of them may not hold two."""
    tried: list[weakref.ref[nn.Module]] = []

    def try_it(*_: Any) -> SimpleNamespace:
        assert all(model() is None for model in tried)
        trained = SimpleNamespace(model=nn.Linear(1, 1))
        tried.append(weakref.ref(trained.model))
        return trained

    monkeypatch.setattr(rehearsal, "_try", try_it)
    rehearse(rehearsals(tiny_study()), "cpu", over_cards=True)
    assert len(tried) == 2


def test_what_has_no_deterministic_kernel_names_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    told = (
        "x_cuda does not have a deterministic implementation, but you set 'torch.use_deterministic_algorithms(True)'."
    )
    monkeypatch.setattr(rehearsal, "_try", MagicMock(side_effect=RuntimeError(told)))
    with pytest.raises(InvalidInput, match=r"^Arm 'ResNet' .* Leave out --deterministic, or change the arm's"):
        rehearse(rehearsals(tiny_study()), "cpu")
