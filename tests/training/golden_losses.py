"""Small trainings that together use every field of a configuration, and the losses that they had.

`make numerics` trains them and keeps their losses as the golden ones: after a change of the numbers that is meant.
`make numerics ARGS=new` does so with those alone that have none, for a new field.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import nn
from training_cases import CPU

from harness.data import content_hash, load, resolve
from harness.spec import (
    Augmentation,
    Cued,
    DataSpec,
    Distillation,
    Module,
    Pretraining,
    Recipe,
    ResNetSpec,
    RunConfig,
    Scattered,
    StartFrom,
    SwinSpec,
    ViTSpec,
)
from harness.spec.checks import replace_at
from harness.spec.run import pretraining_config
from harness.training.loop import train, train_teacher
from harness.training.start import Weights

KEPT = Path(__file__).with_name("golden_losses.json")

UPDATES = 10

RECIPE = Recipe(
    updates=UPDATES,
    batch_size=16,
    optimizer="adamw",
    learning_rate=3e-3,
    weight_decay=0.05,
    evaluations=UPDATES,
    precision="fp32",
)
VIT = ViTSpec(
    patch_size=2, width=16, depth=2, heads=2, mlp_ratio=2.0, pool="cls", initialisation="xavier", zero_head=False
)
SWIN = SwinSpec(patch_size=2, width=8, depths=(1, 1), heads=(1, 2), window=2)
TEACHER = Distillation(teacher=ResNetSpec(depth=8, width=4), learning_rate=1e-2)

OF_A_VIT: dict[str, Any] = {
    "patch_size": 4, "width": 24, "depth": 3, "heads": 4, "mlp_ratio": 3.0, "pool": "mean",
    "norm": "post", "residual": "branch", "position": "sincos_2d", "qkv_bias": False, "output_bias": False,
    "dropout": 0.2, "attention_dropout": 0.2, "mlp_dropout": 0.2, "projection_dropout": 0.2, "stochastic_depth": 0.2,
    "layer_scale": 0.1, "stem": "conv", "initialisation": "truncated_normal", "position_sd": 0.5, "class_token_sd": 0.5,
    "zero_head": True, "head_hidden": 8, "norm_eps": 0.1, "attention_start": "mimetic",
    "rotary": 100.0, "registers": 2, "mlp_bias": False, "norm_bias": False, "norm_type": "rms", "qk_norm": True,
    "mlp": "swiglu", "patch_dropout": 0.5, "flexible_patches": (2, 4),
}  # fmt: skip
OF_A_RESNET: dict[str, Any] = {"depth": 14, "width": 8}
OF_A_SWIN: dict[str, Any] = {
    "patch_size": 1, "width": 16, "depths": (1, 2), "heads": (2, 4), "window": 4, "mlp_ratio": 2.0,
    "stochastic_depth": 0.3,
}  # fmt: skip
OF_A_RECIPE: dict[str, Any] = {
    "updates": 8, "batch_size": 24, "optimizer": "muon", "learning_rate": 1e-2, "weight_decay": 0.5,
    "momentum": 0.5, "schedule": "wsd", "warmup": 0.4, "clip_norm": 0.01, "label_smoothing": 0.2, "ema_decay": 0.9,
    "sam_radius": 0.1,
}  # fmt: skip
OF_AN_AUGMENTATION: dict[str, Any] = {
    "shift": 1, "flip": True, "erase": 0.5, "mixup": 0.3, "cutmix": 0.3, "randaugment": 1,
}  # fmt: skip
OF_A_DISTILLATION: dict[str, Any] = {
    "teacher": ResNetSpec(depth=8, width=6), "learning_rate": 3e-2, "weight_decay": 0.9, "weight": 0.9,
}  # fmt: skip
OF_DATA: dict[str, Any] = {
    "image_size": 12, "train_size": 60, "validation_size": 40, "split_seed": 1, "resplit": True,
    "moved_share": 0.5,
}  # fmt: skip
OF_MOVED: dict[str, Any] = {"moved_patch": 2, "moved_seed": 1}
OF_PHOTOGRAPHS: dict[str, Any] = {"fit": "pad", "background": (0, 90, 0), "channels": 1}

ALIKE = {
    "kind", "source", "precision", "compile", "evaluations", "epochs", "images", "least_epochs", "distillation_token",
}  # fmt: skip
"""Fields that a case has of its own, or whose values change no number: a case for each would say nothing."""


def configurations(folder: Path) -> Iterator[tuple[str, RunConfig]]:
    """Name and configuration; `folder` is written to: a few photographs."""
    vit, resnet, swin = (config_of(model) for model in (VIT, ResNetSpec(depth=8, width=4), SWIN))
    for name, base in (("vit", vit), ("resnet", resnet), ("swin", swin)):
        yield name, base
    yield from varied("vit", vit, "model", OF_A_VIT)
    for position in ("none", "learned_2d", "relative"):
        yield f"vit position {position}", replace_at(vit, "model.position", position)
    for pool in ("all", "map"):
        yield f"vit pool {pool}", replace_at(vit, "model.pool", pool)
    yield "vit residual parallel", replace_at(vit, "model.residual", "parallel")
    yield "vit pool mean, norm after", replace_at(replace_at(vit, "model.pool", "mean"), "model.pool_norm", "after")
    yield "vit stem hybrid", replace_at(vit, "model.stem", "hybrid")
    yield "vit initialisation torch", replace_at(vit, "model.initialisation", "torch")
    yield "vit attention_start impulse", replace_at(vit, "model.attention_start", "impulse")
    yield from varied("resnet", resnet, "model", OF_A_RESNET)
    for name, large in (
        ("resnet 18", config_of(ResNetSpec(depth=18))),
        ("resnet 18, imagenet stem", config_of(ResNetSpec(depth=18, stem="imagenet"), image_size=32)),
    ):
        yield name, replace(replace_at(large, "recipe.updates", 2), test_shifts=())
    yield from varied("swin", swin, "model", OF_A_SWIN)
    yield from varied("vit", vit, "recipe", OF_A_RECIPE)
    for optimizer in ("adam", "sgd"):
        yield f"vit {optimizer}", replace_at(vit, "recipe.optimizer", optimizer)
    yield "vit constant", replace_at(vit, "recipe.schedule", "constant")
    for name, base in (("vit", vit), ("resnet", resnet)):
        averaged = replace(base.recipe, optimizer="schedule_free", schedule="constant")
        yield f"{name} schedule_free", replace(base, recipe=averaged)
    yield "resnet sam_radius 0.1", replace_at(resnet, "recipe.sam_radius", 0.1)
    for name, base in (("resnet", resnet), ("swin", swin)):
        yield f"{name} muon", replace_at(base, "recipe.optimizer", "muon")
    yield "resnet accumulate 3", replace_at(resnet, "recipe.accumulate", 3)
    yield "resnet ema_decay 0.9", replace_at(resnet, "recipe.ema_decay", 0.9)
    yield from varied("vit", vit, "recipe.augmentation", OF_AN_AUGMENTATION)
    weak = replace_at(vit, "recipe.augmentation", Augmentation(erase=0.5, strength=0.5))
    yield "vit augmentation strength 0.5", weak
    taught = replace_at(vit, "recipe.distillation", TEACHER)
    yield "taught", taught
    yield from varied("taught", taught, "recipe.distillation", OF_A_DISTILLATION)
    yield "taught by its own token", replace_at(taught, "model.distillation_token", True)
    start = pretraining_of(config_of(VIT, image_size=12))
    yield "vit started", replace_at(vit, "recipe.start_from", start)
    yield "vit started, head alone", replace_at(vit, "recipe.start_from", replace(start, trained="head"))
    yield from varied("vit", vit, "data", OF_DATA)
    yield from varied("vit moved", replace_at(vit, "data.moved_share", 0.5), "data", OF_MOVED)
    sets: list[dict[str, Any]] = [
        {"source": "scattered", "scattered": Scattered(test_images=200)},
        {"source": "scattered", "scattered": Scattered(test_images=200, noise=0.3)},
        {"source": "cued", "cued": Cued(test_images=200)},
        {"source": "cued", "cued": Cued(test_images=200, distance=20)},
    ]
    for made in sets:
        settings = made[made["source"]]
        yield f"{made['source']} {settings.noise} {getattr(settings, 'distance', '')}".strip(), config_of(VIT, **made)
    photographs = {"source": f"imagefolder:{photographs_in(folder)}", "image_size": 8, "train_size": 24}
    for changed in ({}, *({name: value} for name, value in OF_PHOTOGRAPHS.items())):
        told = " ".join(f"{name} {value}" for name, value in changed.items())
        yield f"photographs {told}".strip(), config_of(VIT, **photographs, validation_size=6, **changed)
    own = config_of(Module(build=separable))
    yield "own", own
    yield "own muon", replace_at(own, "recipe.optimizer", "muon")
    yield "another seed", replace(vit, seed=1)


def separable(image_size: int, channels: int, classes: int) -> nn.Module:
    """A user's model, whose parameters are of each kind that is told apart: first, grouped, hidden and last weights."""
    layers = (nn.Conv2d(channels, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1), nn.ReLU())
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * ((image_size - 5) // 2) ** 2, classes))


def varied(name: str, base: RunConfig, part: str, values: dict[str, Any]) -> Iterator[tuple[str, RunConfig]]:
    """`base` with one field changed, for each of some fields."""
    for field, value in values.items():
        changed = replace_at(base, f"{part}.{field}", value)
        yield f"{name} {field} {getattr(value, 'width', value)}", changed


def config_of(model: Any, **data: Any) -> RunConfig:
    spec, facts = resolve(DataSpec(**({"source": "digits", "train_size": 80, "validation_size": 30} | data)))
    return RunConfig(
        phase="confirm",
        seed=0,
        model=model,
        recipe=RECIPE,
        data=spec,
        data_hash=content_hash(spec),
        channels=facts.channels,
        classes=facts.classes,
        test_shifts=(1,),
    )


def pretraining_of(config: RunConfig) -> StartFrom:
    """What starts from a run of another configuration."""
    made = Pretraining(
        data=config.data,
        recipe=config.recipe.resolved(80),
        model=config.model,
        data_hash=config.data_hash,
        channels=config.channels,
        classes=config.classes,
    )
    return StartFrom(pretraining=made)


def weights_before(config: RunConfig) -> Weights | None:
    """The weights that a run starts from, trained for it."""
    if config.recipe.start_from is None:
        return None
    before = pretraining_config(config)
    dataset = load(before.data, phase="confirm", seed=before.seed)
    done = train(before, dataset, CPU, emit=lambda event, **told: None)
    return Weights(tensors=done.evaluated_model.state_dict(), what="a test")


def losses(config: RunConfig) -> list[float]:
    """Training loss of each update, then validation and test loss, and accuracy on shifted images."""
    dataset = load(config.data, phase="confirm", seed=config.seed)
    events: list[dict[str, Any]] = []
    teacher = None
    if config.recipe.distillation is not None:
        teacher = train_teacher(config, dataset, CPU, keeper=Forgetful())
    made: dict[str, Any] = {"teacher": teacher, "start": weights_before(config)}
    done = train(config, dataset, CPU, emit=lambda event, **told: events.append(told), **made)
    assert done.test is not None
    found = [told["train_loss"] for told in events if "train_loss" in told]
    return [*found, done.validation_loss, done.test.loss, *(shifted.accuracy for shifted in done.shifts)]


class Forgetful:
    """Keeps no teacher."""

    def save_teacher(self, state: dict[str, Any], placement: Any) -> None:
        """Keep nothing."""

    def restore_teacher(self, use: Any, placement: Any) -> None:
        """Have nothing."""


def photographs_in(folder: Path) -> Path:
    """Oblong colour photographs of two classes, half of them with transparent parts."""
    rng = np.random.default_rng(0)
    for number in range(60):
        place = folder / "photographs" / ("bright" if number % 2 else "dark")
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(90 * (number % 2), 160 + 90 * (number % 2), (8, 12, 4), dtype=np.uint8)
        pixels[..., 3] = np.where(rng.random((8, 12)) < 0.2 * (number % 3), 0, 255)
        Image.fromarray(pixels, "RGBA").save(place / f"{number:02}.png")
    return folder / "photographs"


def renew(folder: Path, kept: dict[str, list[float]]) -> None:
    """Keep the losses of all trainings but those that are `kept` as the golden ones."""
    found = {name: kept.get(name) or losses(config) for name, config in configurations(folder)}
    lines = (f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in found.items())
    KEPT.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    import sys
    import tempfile

    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        renew(Path(temporary), json.loads(KEPT.read_text()) if sys.argv[1:] == ["new"] else {})
