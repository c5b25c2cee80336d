"""Which optimiser suits a vision transformer, which a ResNet, and does the comparison of the two depend on it?

Source: arXiv 2010.11929, appendix D.1 and Table 7: ResNet-50 reaches 77.54 with Adam and 78.24 with SGD on ImageNet, so
that the optimiser is a nuisance parameter and not a given; arXiv 2106.14881, section 4: a vision transformer loses far
more with SGD than a ResNet does; arXiv 2502.16982: Muon needs about half of AdamW's compute for language models.

Expected: within few updates Muon leads for both families, SGD is worst for the transformer and fair for the ResNet.
Every optimiser has its own range of learning rates; every arm the same number of trials.

Cost: smoke 45 s, laptop 15 min on 2 cores; `make study NAME=optimizer [SCALE=smoke]`.
"""

from dataclasses import replace
from typing import Any

from harness.spec import Arm, Better, GainsMore, ModelSpec, Scale, Space, Study, ViTSpec
from studies import _recipes as r

OPTIMIZERS: dict[str, tuple[dict[str, Any], Space]] = {
    "AdamW": ({"recipe.optimizer": "adamw", "recipe.learning_rate": 3e-3}, r.ADAMW_RANGES),
    "SGD": (
        {"recipe.optimizer": "sgd", "recipe.learning_rate": 0.1, "recipe.weight_decay": 5e-4},
        r.SGD_RANGES,
    ),
    "Muon": ({"recipe.optimizer": "muon", "recipe.learning_rate": 2e-2}, r.MUON_RANGES),
}
"""What each arm changes in the recipe, and its ranges."""


def _arms(family: str, model: ModelSpec) -> tuple[Arm, ...]:
    return tuple(
        Arm(
            f"{family}, {name}",
            model,
            level=f"{family}, {name}",
            against=None if (family, name) == ("ResNet", "AdamW") else f"{family}, AdamW",
            changes=changes,
        )
        for name, (changes, _) in OPTIMIZERS.items()
    )


def _scale(base: Scale, vit: ViTSpec, minutes: float | None = None) -> Scale:
    first, *others = _arms("ResNet", base.baseline.model)
    vit_first, *vit_others = _arms("ViT", vit)
    arms = (*others, replace(vit_first, against=first.name), *vit_others)
    ranges = {arm.name: OPTIMIZERS[arm.name.partition(", ")[2]][1] for arm in (first, *arms)}
    return replace(
        base, baseline=first, arms=arms, search=replace(base.search, by_family={}, by_arm=ranges), minutes=minutes
    )


STUDY = Study(
    question="Which optimiser suits a vision transformer, which a ResNet, and does comparing the two depend on it?",
    source="arXiv 2010.11929, Table 7; arXiv 2106.14881, section 4; arXiv 2502.16982",
    factor="optimizer",
    scales={
        "smoke": _scale(r.AT_SMOKE, r.VIT_SMOKE, 0.8),
        "laptop": _scale(replace(r.AT_LAPTOP, seeds=r.TEN_SEEDS), r.VIT_XS, 15),
        "gpu": _scale(replace(r.AT_GPU, search=replace(r.GPU_SEARCH, space={})), r.VIT_CIFAR, 200),
        "paper": _scale(
            replace(r.AT_PAPER, search=replace(r.PAPER_SEARCH, space={})), ViTSpec.preset("S", patch_size=16)
        ),
    },
    claims=(
        Better(
            statement="A ResNet is better with SGD than with Adam (78.24 against 77.54).",
            source="arXiv 2010.11929, Table 7",
            conditions="ResNet-50, Adam without decoupled decay; ImageNet fine-tuning after pre-training on JFT-300M",
            arm="ResNet, SGD",
            than="ResNet, AdamW",
        ),
        GainsMore(
            statement="A vision transformer gains more from AdamW over SGD than a ResNet does.",
            source="arXiv 2106.14881, section 4",
            conditions="ImageNet, models of 1 to 18 GFLOPs, 50 to 400 epochs",
            arm="ViT, AdamW",
            start="ViT, SGD",
            other="ResNet, AdamW",
            other_start="ResNet, SGD",
        ),
        Better(
            statement="Muon is better than AdamW at equal training.",
            source="arXiv 2502.16982",
            conditions="language models; there as the same loss with about half of the compute",
            arm="ViT, Muon",
            than="ViT, AdamW",
        ),
    ),
    changes_after_first_look=(
        "Scale laptop was first run with 3 seeds: two of the three claims were inconclusive (SGD over AdamW for the "
        "ResNet +0.54 points [-0.74, 1.81]; how much more the transformer gains from AdamW than the ResNet +0.95 "
        "[-1.24, 3.14]). Now 10 seeds, the first three among them.",
    ),
)
