"""When does data beat bias? ResNet and ViT from a thousand images to data without end, where a bias fits and not.

Source: arXiv 2010.11929, section 4.3 and Fig. 4 ("large scale training trumps inductive bias") and section 3.1. The
images of other studies end before the finding does. Here they are made (`data.source=scattered`): an object somewhere
among fragments of others, in noise, in as many images as are asked for. As they are, a ResNet's bias fits: an object is
the same wherever it lies, and what belongs together lies together. One fixed permutation takes that away: of the
patches that the ViT cuts, to which it is indifferent but for its table of positions, or of all pixels, which takes from
both. So this shows when data beats bias, not that it does so on photographs.

Every size has the same number of updates, or one pass over its images where that is more, for both models alike: from
the size on where each image is seen once (128,000 at scale laptop) more images are as good as data without end. There
is no augmentation, which would be data, too (but at scale paper, whose images are ImageNet's). Arms are tuned at every
size. At scale laptop a trial has the same 500 updates at every size, as the time is for the trainings, and tries
learning rates alone: of weight decays, short trials choose those that are too strong for a long training.

Expected: as they are, the ResNet leads, and its lead shrinks by far; that it turns within the range may come out either
way. With patches moved the ViT overtakes early, with pixels moved later. What the bias is worth to the ResNet, its
accuracy as they are less that with patches moved, falls. At scale gpu the question of images as they are is open.

Cost: smoke 55 s, laptop 90 min on 2 cores; `make study NAME=data_scale [SCALE=smoke]`.
"""

from dataclasses import replace
from typing import Any

from harness.spec import (
    Answer,
    Arm,
    Better,
    Claim,
    Crosses,
    DataSpec,
    Equivalent,
    GainsMore,
    GapShrinks,
    LogUniform,
    ResNetSpec,
    Scale,
    Scattered,
    Study,
    ViTSpec,
)
from studies import _recipes as r

SOURCE = "arXiv 2010.11929, section 4.3 and Fig. 4"
OURS = f"our own hypothesis, after {SOURCE} and section 3.1"
AS_THEY_ARE = "With more data still, the vision transformer overtakes the ResNet on images as they are."
MOVED = "Where patches are moved, the vision transformer overtakes the ResNet."
WITHIN = "Within the sizes measured"
PATCHES, PIXELS = ", patches moved", ", pixels moved"


def _scale(base: Scale, vit: ViTSpec, sizes: tuple[int, ...], middle: int, minutes: float | None = None) -> Scale:
    """`middle`: the size of `sizes` at which the lead with patches moved is compared with that with pixels moved."""
    resnet = base.baseline.model
    moved: dict[str, dict[str, Any]] = {
        "": {},
        PATCHES: {"data.moved_share": 1.0, "data.moved_patch": vit.patch_size},
        PIXELS: {"data.moved_share": 1.0, "data.moved_patch": 1},
    }
    baseline, *others = (Arm("ResNet" + how, resnet, level="ResNet" + how, changes=moved[how]) for how in moved)
    vits = (
        Arm("ViT" + how, vit, level="ViT" + how, against="ResNet" + how if how else None, changes=moved[how])
        for how in moved
    )
    arms = (*vits, *others)
    return replace(base, baseline=baseline, arms=arms, train_sizes=sizes, minutes=minutes, claims=_claims(middle))


def _claims(middle: int) -> tuple[Claim, ...]:
    return (
        Better(
            statement="With little data the ResNet's inductive bias wins.",
            source=SOURCE,
            arm="ResNet",
            than="ViT",
            train_size="smallest",
        ),
        GapShrinks(
            statement="With more data the gap shrinks, on images as they are.",
            source=SOURCE,
            leader="ResNet",
            follower="ViT",
        ),
        Crosses(
            statement=AS_THEY_ARE,
            source=SOURCE,
            conditions="ViT-B/32 and ResNet-50, pre-trained on 9M to 300M images, ImageNet 5-shot",
            leader="ResNet",
            follower="ViT",
            seen_at=(9e6, 90e6),
        ),
        Crosses(
            kind="hypothesis",
            statement=MOVED,
            source=OURS,
            leader="ResNet" + PATCHES,
            follower="ViT" + PATCHES,
        ),
        Crosses(
            kind="hypothesis",
            statement="Where all pixels are moved, the vision transformer overtakes the ResNet, too.",
            source=OURS,
            leader="ResNet" + PIXELS,
            follower="ViT" + PIXELS,
        ),
        GainsMore(
            kind="hypothesis",
            statement="It does so later: at a middle size it is farther ahead with patches than with pixels moved.",
            source=OURS,
            arm="ViT" + PATCHES,
            start="ResNet" + PATCHES,
            other="ViT" + PIXELS,
            other_start="ResNet" + PIXELS,
            train_size=middle,
        ),
        GapShrinks(
            kind="hypothesis",
            statement="What its bias is worth to the ResNet, its lead over itself with patches moved, falls with data.",
            source=OURS,
            leader="ResNet",
            follower="ResNet" + PATCHES,
        ),
        Equivalent(
            kind="hypothesis",
            statement="A vision transformer does not mind where its patches lie.",
            source="arXiv 2010.11929, section 3.1: without its position table it is blind to their order",
            arm="ViT" + PATCHES,
            to="ViT",
            within=0.01,
            train_size="largest",
        ),
    )


SMALL = DataSpec(source="scattered", resplit=True, validation_size=3_000)  # 16 px, real digits
LARGE = DataSpec(
    source="scattered",
    resplit=True,
    scattered=Scattered(objects="fashion_mnist", side=32, smallest=14, largest=28, clutter=6),
)
RECIPE = replace(r.LAPTOP_PLAIN, updates=1_000, learning_rate=1e-2, least_epochs=1.0, evaluations=4)

ANSWER = (
    Answer(claim=AS_THEY_ARE, holds=WITHIN, says="where a ResNet's bias fits, a ViT reaches {more}"),
    Answer(claim=MOVED, holds=WITHIN, says="where patches are moved it reaches {more}"),
)

STUDY = Study(
    question="When does data beat bias, where a ResNet's bias fits and where it does not?",
    source=f"{SOURCE}; section 3.1",
    factor="architecture",
    figure="lead_by_size",
    group="data and bias",
    answer=ANSWER,
    scales={
        "smoke": _scale(
            replace(
                r.AT_SMOKE,
                data=replace(SMALL, validation_size=100, scattered=Scattered(test_images=300)),
                recipe=replace(r.SMOKE, updates=25, least_epochs=1.0, evaluations=1, augmentation=r.NO_AUGMENTATION),
                search=replace(r.SMOKE_RATES, trials=1),
            ),
            replace(r.VIT_SMOKE, patch_size=4),
            (100, 3200),
            3200,
            0.9,
        ),
        "laptop": _scale(
            replace(
                r.AT_LAPTOP,
                data=SMALL,
                recipe=RECIPE,
                baseline=Arm("ResNet", ResNetSpec(depth=8, width=8)),
                seeds=(0, 1, 2),
                search=replace(
                    r.WIDE_SEARCH,
                    space={"learning_rate": LogUniform(low=3e-3, high=1e-1)},
                    by_family={},
                    trials=3,
                    repeats=3,
                    updates=500,
                    share=None,
                ),
            ),
            ViTSpec(patch_size=4, width=32, depth=4, heads=4),
            (1_000, 4_000, 16_000, 128_000, 1_024_000),
            16_000,
            90,
        ),
        "gpu": _scale(
            replace(
                r.AT_GPU,
                data=LARGE,
                recipe=replace(
                    r.GPU,
                    epochs=None,
                    updates=8_000,
                    least_epochs=1.0,
                    batch_size=1024,
                    learning_rate=2e-3,
                    label_smoothing=0.0,
                    augmentation=r.NO_AUGMENTATION,
                ),
                seeds=(0, 1, 2),
                search=replace(r.GPU_RATES, trials=3, repeats=3, updates=None, share=0.5),
            ),
            r.VIT_CIFAR,
            (1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000),
            100_000,
            4000,
        ),
        "paper": _scale(
            replace(r.AT_PAPER, recipe=r.PAPER_UPDATES),
            ViTSpec.preset("S", patch_size=16),
            (12_800, 64_000, 384_000, 1_271_167),
            384_000,
        ),
    },
)
