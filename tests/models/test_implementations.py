"""Published implementations of the ViT are single settings of `ViTSpec`: same functions, same size, same start.

Where a start differs from the published one in spite of the fields, `OTHER_START` says how.
"""

from dataclasses import replace

import pytest
import teaching_vits
import torch
import torchvision
from torch import Tensor, nn
from weight_maps import randomise, torchvision_weights

from harness.models import build, parameters
from harness.spec import ViTSpec
from studies.implementations import DETAILS

REFERENCES = {
    "walk-through": teaching_vits.WalkThrough,
    "unit embeddings": teaching_vits.UnitEmbeddings,
    "residual slip": teaching_vits.ResidualSlip,
    "mean of all": teaching_vits.MeanOfAll,
    "D2L": teaching_vits.D2L,
    "big_vision": teaching_vits.BigVision,
}

OTHER_START = {
    # Queries and values start larger and smaller than ours, because the weights are divided, not the scores.
    "mean of all": ("attention.qkv",),
    # torchvision draws queries, keys and values as one Xavier matrix (D, 3D), leaves the output projection as
    # torch.nn.Linear draws it, and does not cut the stem's normal distribution at two deviations.
    "torchvision": ("attention.qkv.weight", "attention.output.weight", "stem.projection.weight"),
    # Flax widens the normal distribution that it cuts, so that the stem's deviation is 1/sqrt(inputs) after the cut.
    "big_vision": ("stem.projection.weight",),
}
"""Parameters that start from another distribution in the original; and biases of N(0, 1e-6) are zeros here."""

DATA = {"image_size": 16, "channels": 3, "classes": 5}
SMALL = ViTSpec.preset("S", patch_size=4, width=24, depth=2, heads=3)


def ours(name: str, spec: ViTSpec = SMALL, **data: int) -> nn.Module:
    torch.manual_seed(0)
    return build(replace(spec, **DETAILS[name]), **DATA | data)


def reference(name: str, spec: ViTSpec = SMALL, **data: int) -> nn.Module:
    torch.manual_seed(1)
    if name != "torchvision":
        return REFERENCES[name](spec, **DATA | data)
    return torchvision.models.VisionTransformer(
        image_size=(DATA | data)["image_size"],
        patch_size=spec.patch_size,
        num_layers=spec.depth,
        num_heads=spec.heads,
        hidden_dim=spec.width,
        mlp_dim=4 * spec.width,
        num_classes=(DATA | data)["classes"],
    )


def mapped(theirs: nn.Module) -> dict[str, Tensor]:
    """The reference's weights under our names."""
    return theirs.mapped() if isinstance(theirs, teaching_vits.TeachingViT) else torchvision_weights(theirs)


def pair(name: str) -> tuple[nn.Module, nn.Module]:
    """Ours and the reference with the same weights, none of them zero or one, in double precision."""
    theirs, mine = reference(name).double(), ours(name).double()
    randomise(theirs)
    found, state = mapped(theirs), mine.state_dict()
    assert found.keys() == state.keys()
    mine.load_state_dict({key: value.view(state[key].shape) for key, value in found.items()})
    if name == "big_vision":  # the same up to single precision, in which ours is computed
        torch.testing.assert_close(mine.position.table, theirs.sines, atol=1e-6, rtol=0)
        theirs.sines.copy_(mine.position.table)
    return mine, theirs


def thinned(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In place of dropout: without chance, but like it different from element to element, and by p."""
    kept = torch.arange(x.shape[-1]) % 5 != 3
    return x * kept * (1 + p) if training and p else x


@pytest.mark.parametrize("mode", ["evaluation", "training"])
@pytest.mark.parametrize("name", DETAILS)
def test_the_same_weights_give_the_same_logits(name, mode, monkeypatch):
    """In training mode too: dropout stands in the same places, with the same probabilities."""
    mine, theirs = pair(name)
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    monkeypatch.setattr("torch.nn.functional.dropout", thinned)
    logits = mine.train(mode == "training")(images)
    torch.testing.assert_close(logits, theirs.train(mode == "training")(images), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", DETAILS)
def test_the_number_of_parameters_is_the_same(name):
    assert parameters(ours(name)) == parameters(reference(name))


@pytest.mark.parametrize("name", DETAILS)
def test_the_start_is_drawn_from_the_same_distributions(name):
    spec, data = ViTSpec.preset("S", patch_size=8, width=128, depth=2, heads=4), {"image_size": 64, "classes": 100}
    expected = mapped(reference(name, spec, **data))
    for key, value in ours(name, spec, **data).state_dict().items():
        if not any(other in key for other in OTHER_START.get(name, ())):
            spread = expected[key].std().item()
            assert value.std().item() == pytest.approx(spread, rel=0.2, abs=2e-6), key
            assert value.mean().item() == pytest.approx(expected[key].mean().item(), abs=0.6 * spread + 2e-6), key


def test_what_remains_between_our_start_and_torchvisions():
    spec, data = ViTSpec.preset("S", patch_size=8, width=128, depth=1, heads=4), {"image_size": 64, "classes": 100}
    theirs, mine = mapped(reference("torchvision", spec, **data)), ours("torchvision", spec, **data).state_dict()
    ratios = {key: (mine[key].std() / theirs[key].std()).item() for key in mine if key.endswith("weight")}
    assert ratios["blocks.0.attention.qkv.weight"] == pytest.approx(2**0.5, rel=0.02)
    assert ratios["blocks.0.attention.output.weight"] == pytest.approx(3**0.5, rel=0.02)
    assert ratios["stem.projection.weight"] == pytest.approx(0.88, rel=0.02)


def test_what_listings_of_layers_leave_out_are_class_token_and_position_table():
    """Tools that add up layers print 86,415,592 parameters for a ViT-B/16 that holds 86,567,656."""
    spec, data = ViTSpec.preset("B", patch_size=16), {"image_size": 224, "channels": 3, "classes": 1000}
    with torch.device("meta"):
        theirs = REFERENCES["mean of all"](spec, **data)
        mine = build(replace(spec, **DETAILS["mean of all"]), **data)
    layers = [module for module in theirs.modules() if not list(module.children())]
    listed = sum(parameter.numel() for layer in layers for parameter in layer.parameters())
    assert listed == 86_415_592
    assert parameters(theirs) == parameters(mine) == 86_567_656 == listed + 768 + 197 * 768
