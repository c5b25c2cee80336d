"""Models of a user's function, of timm and of torchvision; and the groups of parameters of all models."""

import builtins
import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.models import (
    FAMILIES,
    activation_bytes,
    attention_macs_per_image,
    build,
    family_of,
    macs_per_image,
    outline,
    parameters,
)
from harness.models.family import parameter_groups
from harness.spec import InvalidInput, ModelSpec, Module, ResNetSpec, SwinSpec, Timm, Torchvision, ViTSpec

SHAPE = {"image_size": 32, "channels": 3, "classes": 10}
VIT = ViTSpec(patch_size=4, width=16, depth=2, heads=2)
VITS = [
    replace(VIT, stem=stem, position=position, pool=pool, layer_scale=0.1, head_hidden=4, norm=norm)
    for stem, position, pool, norm in itertools.product(
        ("patch", "conv", "hybrid"),
        ("none", "learned_1d", "learned_2d", "sincos_2d", "relative"),
        ("cls", "mean", "all"),
        ("pre", "post"),
    )
]
SWIN = SwinSpec(patch_size=2, width=8, depths=(1, 1), heads=(2, 2), window=2)
OWN = [
    *VITS,
    replace(VIT, pool="cls", distillation_token=True, qkv_bias=False, output_bias=False),
    *(ResNetSpec(depth=depth) for depth in (8, 14, 20, 18, 34, 50)),
    ResNetSpec(depth=18, stem="imagenet"),
    SWIN,
    replace(SWIN, depths=(2, 1, 1), heads=(1, 2, 4)),
]
OTHERS = [
    Torchvision("resnet18"),
    Torchvision("convnext_tiny"),
    Torchvision("vit_b_16"),
    Timm("vit_tiny_patch16_224", arguments={"depth": 1}),
    Timm("convnext_atto"),
]


def in_outline(spec: ModelSpec, **shape: int) -> nn.Module:
    with outline(spec):
        return build(spec, **(SHAPE | shape))


def before(model: nn.Module) -> tuple[set[str], dict[str, int]]:
    """What was not decayed, and what Muon updated, while both were guessed from names: no assignment has changed."""
    undecayed, hidden = set(), {}
    for name, parameter in model.named_parameters():
        if parameter.ndim <= 1 or name.endswith("_token") or "position" in name:
            undecayed.add(name)
        is_matrix = parameter.ndim == 2 and name.startswith(("blocks.", "features."))
        is_kernel = parameter.ndim == 4 and name != "conv1.weight" and not name.startswith(("stem.", "features."))
        if name.endswith(".weight") and (is_matrix or is_kernel):
            hidden[name] = 3 if name.endswith("qkv.weight") else 1
    return undecayed, hidden


@pytest.mark.parametrize("spec", [*OWN, *OTHERS], ids=str)
def test_every_parameter_is_in_exactly_one_group(spec: ModelSpec) -> None:
    model = in_outline(spec)
    groups = parameter_groups(model)
    named = [*groups.hidden, *groups.decayed, *groups.undecayed]
    assert sorted(named) == sorted(name for name, _ in model.named_parameters())
    if spec in OWN:
        assert (set(groups.undecayed), dict(groups.hidden)) == before(model)


def test_every_family_has_a_record_and_ours_name_parts_that_there_are() -> None:
    assert {spec.__name__ for spec in FAMILIES} == {part.__name__ for part in ModelSpec.__args__}
    for spec in (VIT, replace(VIT, pool="cls", distillation_token=True), *OWN[-8:]):
        parts, model = family_of(spec).parts, in_outline(spec)
        assert parts is not None
        model.get_submodule(parts.stem)
        assert any(name in parts.blocks for name, _ in model.named_modules())


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (Torchvision("resnet18"), ResNetSpec(depth=18, stem="imagenet")),
        pytest.param(Torchvision("vit_b_16"), ViTSpec.preset("B", patch_size=16), marks=pytest.mark.slow),
        (Timm("vit_tiny_patch16_224"), ViTSpec.preset("Ti", patch_size=16)),
    ],
)
def test_the_same_model_counts_the_same(theirs: ModelSpec, ours: ModelSpec) -> None:
    """Both fast paths of torch's attention are counted, in what computes too."""
    assert parameters(in_outline(theirs)) == parameters(in_outline(ours))
    assert macs_per_image(theirs, **SHAPE) == macs_per_image(ours, **SHAPE)
    assert attention_macs_per_image(theirs, **SHAPE) is None
    held = activation_bytes(theirs, training=True, **SHAPE) / activation_bytes(ours, training=True, **SHAPE)
    assert 0.7 < held < 1.5


def test_counting_draws_no_numbers() -> None:
    state = torch.get_rng_state()
    macs_per_image(Torchvision("resnet18"), image_size=40, channels=1, classes=3)
    activation_bytes(Torchvision("resnet18"), training=True, image_size=40, channels=1, classes=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize(("spec", "channels"), [*zip(OTHERS, (1, 5, 1, 5, 1), strict=True)])
def test_models_by_name_take_the_datas_channels_and_classes(spec: ModelSpec, channels: int) -> None:
    model = build(spec, image_size=32, channels=channels, classes=7).eval()
    assert model(torch.zeros(2, channels, 32, 32)).shape == (2, 7)


def test_hidden_weights_of_others_are_ungrouped_maps_between_the_first_and_the_last() -> None:
    convnext = parameter_groups(in_outline(OTHERS[1]))
    assert "features.2.1.weight" in convnext.hidden  # between two stages
    assert not {"features.0.0.weight", "features.1.0.block.0.weight", "classifier.2.weight"} & convnext.hidden.keys()
    vit = parameter_groups(in_outline(OTHERS[2]))
    assert vit.hidden["encoder.layers.encoder_layer_0.self_attention.in_proj_weight"] == 3
    assert {"conv_proj.weight", "heads.head.weight", "class_token"} <= vit.decayed
    assert {"pos_embed", "cls_token"} <= parameter_groups(in_outline(OTHERS[3])).undecayed  # as timm says


class Net(nn.Module):
    """Two linear maps, and whatever a case makes of them."""

    def __init__(self, image_size: int, channels: int, classes: int, case: str = "", wrong: Any = None) -> None:
        super().__init__()
        self.first = nn.Linear(channels * image_size**2, 6)
        self.middle = nn.Linear(6, 6)
        self.last = nn.Linear(6, classes if case != "more classes" else classes + 1)
        self.case = case
        if case == "frozen":
            self.first.requires_grad_(False)
        if case == "nothing to train":
            self.requires_grad_(False)
        if case == "complex":
            self.register_buffer("angles", torch.zeros(2, dtype=torch.complex64))
        if wrong is not None:
            self.parameter_groups = lambda: wrong

    def forward(self, images: Tensor) -> Any:
        logits = self.last(self.middle(self.first(images.flatten(1))))
        return {"a dict": {"logits": logits}, "no batch": logits[0]}.get(self.case, logits)


def not_a_module(image_size: int, channels: int, classes: int) -> str:
    return "a model"


ONE = nn.Linear(16, 3)


def always_the_same(image_size: int, channels: int, classes: int) -> nn.Module:
    return ONE


def test_each_training_has_a_model_of_its_own() -> None:
    spec = Module(build=always_the_same)
    build(spec, image_size=4, channels=1, classes=3)
    with pytest.raises(InvalidInput, match="always_the_same returned a model that it has returned before; make a new"):
        build(spec, image_size=4, channels=1, classes=3)


def greedy(image_size: int, channels: int, classes: int, widths: list[int]) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, widths[0]), nn.Linear(widths.pop(0), classes))


def test_a_function_may_use_up_its_arguments() -> None:
    spec = Module(build=greedy, arguments={"widths": [4, 5]})
    for _ in range(2):
        assert build(spec, image_size=4, channels=1, classes=3)(torch.zeros(2, 1, 4, 4)).shape == (2, 3)
    assert spec.arguments == {"widths": [4, 5]}


def net(**arguments: Any) -> nn.Module:
    return build(Module(build=Net, arguments=arguments), image_size=4, channels=1, classes=3)


def test_frozen_parameters_are_in_no_group() -> None:
    groups = parameter_groups(net(case="frozen"))
    assert (set(groups.hidden), set(groups.decayed)) == ({"middle.weight"}, {"last.weight"})
    assert set(groups.undecayed) == {"middle.bias", "last.bias"}


def test_a_model_declares_groups_of_its_own() -> None:
    declared = {"muon": {"middle.weight": 3}, "no_decay": ["first.weight", "last.weight", "first.bias", "last.bias"]}
    groups = parameter_groups(net(wrong=declared | {"decay": ["middle.bias"]}))
    assert (groups.hidden, set(groups.decayed)) == ({"middle.weight": 3}, {"middle.bias"})
    assert len(groups.undecayed) == 4


EVERY = ["first.weight", "first.bias", "middle.weight", "middle.bias", "last.weight", "last.bias"]


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        (
            {"decay": EVERY[:4]},
            r"is wrong on last\.bias, last\.weight; it must name .* each trained one in exactly one",
        ),
        ({"decay": EVERY, "muon": ["middle.weight"]}, r"is wrong on middle\.weight; "),
        ({"decay": [*EVERY, "other"]}, r"is wrong on other; "),
        ({"decay": EVERY[:-1], "muon": EVERY[-1:]}, r"is wrong on last\.bias; "),
        ({"decayed": EVERY}, r"must return a dict with the keys muon, decay, no_decay"),
        ([EVERY], r"must return a dict with the keys"),
    ],
)
def test_groups_that_do_not_hold_each_parameter_once_are_refused(declared: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=rf"^Net\.parameter_groups\(\) .*{message}"):
        parameter_groups(net(wrong=declared))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("nothing to train", "Net returned a model without a parameter to train"),
        ("complex", "Net returned a model whose state has angles, which is no tensor of real numbers"),
    ],
)
def test_a_model_that_cannot_be_trained_or_kept_is_refused(case: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        net(case=case)


@pytest.mark.parametrize(
    ("case", "found"), [("more classes", r"\(2, 4\)"), ("a dict", "dict"), ("no batch", r"\(3,\)")]
)
def test_what_is_no_logits_is_refused_at_the_first_pass(case: str, found: str) -> None:
    with pytest.raises(
        InvalidInput, match=rf"^Net made {found} of images of shape \(2, 1, 4, 4\); it must make logits"
    ):
        net(case=case)(torch.zeros(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (Module(build=not_a_module), "not_a_module returned str; it must return a torch.nn.Module"),
        (Torchvision("convnet_tiny"), "torchvision has no model 'convnet_tiny'. Did you mean 'convnext_tiny'"),
        (Timm("zzz"), "timm has no model 'zzz'. It has "),
    ],
)
def test_what_cannot_be_built_is_refused(spec: ModelSpec, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        build(spec, image_size=32, channels=1, classes=3)
    assert str(refused.value).startswith(message)


def test_without_timm_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "timm":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InvalidInput, match=r"timm is not installed; .* pip install 'patchbench\[timm\]'"):
        build(OTHERS[3], **SHAPE)
