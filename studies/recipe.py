"""With little data, who gains more from augmentation and regularisation: a vision transformer or a ResNet?

Source: DeiT (arXiv 2012.12877), section 6 and Table 8: trained on ImageNet alone, a vision transformer rests on strong
augmentation and regularisation, each of which it loses by when taken away; arXiv 2106.10270: augmentation and
regularisation stand in for about ten times the data. One addition at a time to a plain recipe, for both families; every
arm is compared with its own family's plain recipe.

Expected: shifted and mirrored images help both, the transformer more; mixing and smoothing little in short trainings.

Cost: smoke 55 s, laptop 27 min on 2 cores; `make study NAME=recipe [SCALE=smoke]`.
"""

from dataclasses import replace
from typing import Any

from harness.spec import Arm, Augmentation, Better, GainsMore, ModelSpec, Scale, Study, ViTSpec
from studies import _recipes as r

DEIT = "arXiv 2012.12877, section 6 and Table 8"
CONDITIONS = "DeiT-B, ImageNet, 300 epochs; each taken away from the full recipe"


def _additions(shift: int) -> dict[str, dict[str, Any]]:
    """What each arm adds to the plain recipe; `shift` in pixels."""
    moved = Augmentation(shift=shift, flip=True)
    return {
        "shift and flip": {"recipe.augmentation": moved},
        "random erasing": {"recipe.augmentation": Augmentation(erase=0.25)},
        "mixup": {"recipe.augmentation": Augmentation(mixup=0.8)},
        "CutMix": {"recipe.augmentation": Augmentation(cutmix=1.0)},
        "label smoothing": {"recipe.label_smoothing": 0.1},
    }


def _scale(base: Scale, vit: ViTSpec, shift: int, minutes: float | None = None) -> Scale:
    plain = replace(base.recipe, augmentation=r.NO_AUGMENTATION, label_smoothing=0.0)
    families: tuple[tuple[str, ModelSpec], ...] = (("ResNet", base.baseline.model), ("ViT", vit))
    arms = [Arm("ViT, plain", vit, level="ViT, plain")]
    for family, model in families:
        for told, changes in _additions(shift).items():
            name = f"{family}, {told}"
            arms.append(Arm(name, model, level=name, against=f"{family}, plain", changes=changes))
    deeper = Arm(
        "ViT, stochastic depth", replace(vit, stochastic_depth=0.1), level="ViT, stochastic depth", against="ViT, plain"
    )
    ranges = {name: space for name, space in base.search.space.items() if not name.startswith("augmentation")}
    return replace(
        base,
        recipe=plain,
        baseline=replace(base.baseline, name="ResNet, plain"),
        arms=(*arms, deeper),
        search=replace(base.search, space=ranges),
        minutes=minutes,
    )


SMOKE = replace(
    r.AT_SMOKE,
    data=replace(r.DIGITS, train_size=200),
    recipe=replace(r.SMOKE, updates=60),
    search=replace(r.SMOKE_SEARCH, trials=1),
)
LAPTOP = replace(r.AT_LAPTOP, data=replace(r.FASHION_MNIST, train_size=2000), seeds=r.FIVE_SEEDS, search=r.SHORT_SEARCH)


def _gains(addition: str) -> GainsMore:
    return GainsMore(
        statement=f"A vision transformer gains more from {addition} than a ResNet does.",
        source=f"our own hypothesis, after {DEIT}",
        conditions=CONDITIONS,
        arm=f"ViT, {addition}",
        start="ViT, plain",
        other=f"ResNet, {addition}",
        other_start="ResNet, plain",
    )


STUDY = Study(
    question="With little data, who gains more from augmentation and regularisation: a ViT or a ResNet?",
    source="arXiv 2012.12877, section 6 and Table 8; arXiv 2106.10270",
    factor="recipe",
    scales={
        "smoke": _scale(SMOKE, r.VIT_SMOKE, 1, 0.9),
        "laptop": _scale(LAPTOP, r.VIT_XS, 2, 27),
        "gpu": _scale(replace(r.AT_GPU, data=replace(r.CIFAR10, train_size=5000)), r.VIT_CIFAR, 4, 100),
        "paper": _scale(r.AT_PAPER, ViTSpec.preset("S", patch_size=16), 16),
    },
    claims=(
        Better(
            statement="A vision transformer trained on little data is better with augmented images.",
            source=DEIT,
            conditions=CONDITIONS,
            arm="ViT, shift and flip",
            than="ViT, plain",
        ),
        _gains("shift and flip"),
        _gains("random erasing"),
        _gains("mixup"),
        _gains("CutMix"),
        Better(
            statement="Stochastic depth helps a vision transformer.",
            source=DEIT,
            conditions=CONDITIONS,
            arm="ViT, stochastic depth",
            than="ViT, plain",
        ),
    ),
)
