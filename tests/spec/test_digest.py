"""A run's identity: the same for the same configuration, another one for any other."""

import dataclasses
import json
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.spec import (
    Augmentation,
    DataSpec,
    Distillation,
    InvalidInput,
    Pretraining,
    Recipe,
    ResNetSpec,
    Run,
    RunConfig,
    StartFrom,
    SwinSpec,
    ViTSpec,
    WeightsFile,
    canonical_json,
    to_plain,
)
from harness.spec.checks import field_types, later, replace_at, value_at
from harness.spec.few_shot import FewShot

VIT = ViTSpec(
    patch_size=4, width=32, depth=2, heads=2, layer_scale=0.1, head_hidden=8,
    pool="cls", initialisation="truncated_normal", zero_head=False,
)  # fmt: skip
CONFIG = RunConfig(
    phase="tune",
    seed=3,
    model=VIT,
    recipe=Recipe(updates=100, optimizer="adamw", learning_rate=1e-3, weight_decay=0.05, ema_decay=0.9),
    data=DataSpec(source="digits", image_size=8, train_size=1000, validation_size=180),
    data_hash="ab" * 32,
    channels=1,
    classes=10,
)
OF_A_RESNET = replace(CONFIG, phase="confirm", model=ResNetSpec(depth=8))
OF_A_SWIN = replace(CONFIG, model=SwinSpec(patch_size=2, width=12, depths=(1, 1), heads=(2, 2), window=4))
TEACHER = Distillation(teacher=ResNetSpec(depth=8), learning_rate=0.1)
WITH_A_TEACHER = replace(CONFIG, recipe=replace(CONFIG.recipe, distillation=TEACHER))
PRETRAINING = Pretraining(
    data=DataSpec(source="fashion_mnist", image_size=28, train_size=1000, validation_size=100),
    recipe=Recipe(updates=100, learning_rate=1e-3, weight_decay=0.05),
    model=VIT,
    data_hash="ef" * 32,
    channels=1,
    classes=10,
)
STARTED = replace(CONFIG, recipe=replace(CONFIG.recipe, start_from=StartFrom(pretraining=PRETRAINING)))
FILE = WeightsFile(path="a.safetensors", grid=(2, 3), sha256="ab" * 32)
FROM_A_FILE = replace(CONFIG, recipe=replace(CONFIG.recipe, start_from=StartFrom(file=FILE)))
FEW_SHOT = FewShot(data=CONFIG.data)
WITH_ANOTHER_TASK = replace(OF_A_RESNET, few_shot=FEW_SHOT, few_shot_hash="ab")
OTHERS = {
    "model.width": 36, "model.position": "sincos_2d", "model.stem": "conv", "data.source": "cifar10",
    "recipe.updates": 101, "recipe.precision": "fp32", "model.depth": 3, "data_hash": "cd" * 32, "model.heads": 4,
    "recipe.distillation": TEACHER, "recipe.start_from": StartFrom(file=FILE), "test_shifts": (1, 2),
    "few_shot": FEW_SHOT, "few_shot_hash": "ab", "model.flexible_patches": (4,),
    "data.background": (0, 0, 0), "data.channels": 1,
    "data.scattered.objects": "fashion_mnist", "data.cued.objects": "fashion_mnist",
}  # fmt: skip
OTHERS_OF_A_SWIN = {"model.depths": (1, 2), "model.heads": (2, 3), "model.width": 14}
OTHERS_OF_A_START = {
    "recipe.start_from.pretraining.data.image_size": 14, "recipe.start_from.pretraining.recipe.updates": 101,
    "recipe.start_from.pretraining.model.dropout": 0.1, "recipe.start_from.pretraining.seeds": 2,
    "recipe.start_from.pretraining.data_hash": "01" * 32, "recipe.start_from.pretraining.channels": 3,
    "recipe.start_from.pretraining.classes": 5, "recipe.start_from.trained": "head",
}  # fmt: skip
OTHERS_OF_A_FILE = {
    "recipe.start_from.file.path": "b.safetensors", "recipe.start_from.file.names": "timm",
    "recipe.start_from.file.grid": (3, 2), "recipe.start_from.file.sha256": "01" * 32,
}  # fmt: skip
OTHERS_OF_A_TEACHER = {"recipe.distillation.teacher.depth": 14}
OTHERS_OF_ANOTHER_TASK = {
    "few_shot.shots": (1, 2), "few_shot.data.source": "cifar10", "few_shot.data.background": (0, 0, 0),
    "few_shot.data.channels": 1, "few_shot.data.scattered.objects": "fashion_mnist",
    "few_shot.data.cued.objects": "fashion_mnist",
}  # fmt: skip
KINDS = ("kind",)  # what class a specification is of
BUDGETS = ("recipe.epochs", "recipe.images")  # only one unit may be given


def leaves(spec, prefix=""):
    """The dotted name of every plain field."""
    for field in dataclasses.fields(spec):
        value, name = getattr(spec, field.name), prefix + field.name
        if dataclasses.is_dataclass(value):
            yield from leaves(value, name + ".")
        elif field.name not in KINDS and name not in BUDGETS and field.name != "rungs":
            yield name


def other_value(config, name, others):
    """A valid value of a field that is not the one it has."""
    if name in others:
        return others[name]
    value = value_at(config, name)
    owner = value_at(config, name.rpartition(".")[0]) if "." in name else config
    hint: Any = field_types(type(owner))[name.rpartition(".")[2]]
    if get_origin(hint) is Literal:
        return next(choice for choice in get_args(hint) if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 if value else 0.5
    assert value is None
    return 0.5 if float in get_args(hint) else 5


def within(config, part, others):
    """A case for every plain field of a part of a configuration."""
    for name in leaves(value_at(config, part), part + "."):
        if name not in ("recipe.distillation.teacher.stem", "few_shot.data.moved_share"):  # which have one value only
            yield pytest.param(config, name, others, id=f"{config.model.kind}-{name}")


@pytest.mark.parametrize(
    ("config", "name", "others"),
    [
        *(pytest.param(CONFIG, name, OTHERS, id=name) for name in leaves(CONFIG)),
        *within(OF_A_SWIN, "model", OTHERS_OF_A_SWIN),
        *within(WITH_ANOTHER_TASK, "few_shot", OTHERS_OF_ANOTHER_TASK),
        *within(WITH_A_TEACHER, "recipe.distillation", OTHERS_OF_A_TEACHER),
        *(pytest.param(STARTED, name, OTHERS_OF_A_START, id=name) for name in OTHERS_OF_A_START),
        *(pytest.param(FROM_A_FILE, name, OTHERS_OF_A_FILE, id=name) for name in OTHERS_OF_A_FILE),
    ],
)
def test_every_field_is_part_of_the_digest(config, name, others):
    changed = replace_at(config, name, other_value(config, name, others))
    assert value_at(changed, name) != value_at(config, name)
    assert changed.digest != config.digest


def test_the_fields_of_a_resnet_too():
    resnet = replace(CONFIG, model=ResNetSpec(depth=8))
    others = [
        CONFIG,
        resnet,
        replace(CONFIG, model=ResNetSpec(depth=14)),
        replace(CONFIG, model=ResNetSpec(depth=8, width=8)),
        replace(CONFIG, model=ResNetSpec(depth=18)),
        replace(CONFIG, model=ResNetSpec(depth=18, stem="imagenet")),
    ]
    assert len({config.digest for config in others}) == len(others)
    assert replace(CONFIG, model=ResNetSpec(depth=8, width=16)).digest == resnet.digest  # a default written out


@pytest.mark.parametrize(
    ("config", "digest"),
    [
        (CONFIG, "f0c509c27da9d4ef883cada3b9ec2aafd7ad113e77483ff5e709bd0e32f0c5c3"),
        (
            replace(CONFIG, phase="confirm", model=ResNetSpec(depth=8)),
            "9630fb29948bb97242bf65d378aaeeace6c96289f11d62e60623aee71bf0632e",
        ),
    ],
    ids=["vit", "resnet"],
)
def test_the_digest_is_the_one_that_is_kept(config, digest):
    """Results lie under their digest: a new field or a changed default makes all earlier results strangers."""
    assert config.digest == digest


def test_a_run_is_known_by_its_configuration_not_by_its_place():
    runs = [Run(arm=arm, config=CONFIG, trial=trial) for arm in ("a", "b") for trial in (0, 1)]
    assert {run.digest for run in runs} == {CONFIG.digest}
    assert runs[1].label == "a · 1,000 images · trial 1"
    assert Run(arm="a", config=replace(CONFIG, phase="confirm")).label == "a · 1,000 images · seed 3"


def test_whole_numbers_are_the_same_however_written():
    assert (
        replace_at(CONFIG, "recipe.learning_rate", 1).digest == replace_at(CONFIG, "recipe.learning_rate", 1.0).digest
    )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=8,
    )
)
def test_canonical_json_is_one_text_for_one_value(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(json.dumps(value))) == text
    if isinstance(value, dict):
        assert canonical_json(dict(reversed(value.items()))) == text


def test_a_configuration_as_plain_values_holds_every_default():
    plain = to_plain(CONFIG)
    assert plain["recipe"]["augmentation"] == dataclasses.asdict(Augmentation())
    assert plain["model"]["norm_eps"] == 1e-6
    assert json.loads(canonical_json(CONFIG)) == plain


@dataclass(frozen=True, kw_only=True)
class _Grown:
    old: int = 1
    new: int | None = later(None)


def test_a_field_that_came_later_changes_no_earlier_digest():
    assert canonical_json(_Grown()) == '{"old":1}'
    assert canonical_json(_Grown(new=0)) == '{"new":0,"old":1}'


@pytest.mark.parametrize(
    "spec", [CONFIG, CONFIG.model, CONFIG.recipe, CONFIG.data, ResNetSpec(depth=8), OF_A_SWIN.model, TEACHER]
)
def test_specifications_do_not_change(spec):
    name = dataclasses.fields(spec)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(spec, name, 1)


def test_no_nan_gets_into_a_digest():
    with pytest.raises(InvalidInput):
        replace_at(CONFIG, "recipe.learning_rate", float("nan"))
