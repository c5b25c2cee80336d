"""What is a soft bias worth to a vision transformer, one that training may undo, and does it fall with data?

Source: arXiv 2305.09828 (mimetic initialisation: queries like keys, values that go back, positions of sines and
cosines), arXiv 2505.19985 (attention that starts as impulse filters: heads that look at a neighbour), arXiv 2106.14881
(a stem of a few convolutions). The two starts lend a bias to the very same model, with the same weights and compute,
and nothing holds it to it; the stem builds a part of it in, and the ResNet all. The tight claim is that the worth of
such a start, its lead over the same model without, falls with data. Control: where one fixed permutation moves the
patches of all images, neighbours tell nothing, and neither start should be worth anything; a stem still sees what is
in a patch. `ViT, sine-cosine positions` tells how much of the mimetic start is its positions.

Seen in a pilot of 300 updates and one seed, test accuracy in % with 2,000 scattered images: ViT 49.0, with sine-cosine
positions 48.1, mimetic 55.3, impulse 61.3, stem 73.5, ResNet 87.4; patches moved: ViT 48.4, mimetic 54.4, impulse 54.7,
stem 52.2. With 1,000 of Fashion-MNIST: ViT 75.9, with sine-cosine positions 77.8, mimetic 80.3, impulse 79.7, stem
79.0, ResNet 81.2; patches moved: ViT 76.8, mimetic 79.1, impulse 80.3, stem 79.1. A part of what a start is worth
seemed to be no locality; the claims that it is worth more where patches are in place were then added for the starts,
too. The other claims had been written before. Seed 0 was the pilot's.

Images that are made: `SET="data.source=scattered data.resplit=false train_sizes=[2000,16000,128000]"`.

Expected: with little data ResNet, stem, starts, ViT, in this order; with all images they lie closer together.

Images have 16 pixels, so that there are as many patches as a head has dimensions: enough for exact impulses.

Cost: smoke 55 s, laptop 42 min on 2 cores; `make study NAME=soft_bias [SCALE=smoke]`.
"""

from dataclasses import replace
from typing import Any

from harness.spec import Answer, Arm, Better, Claim, DataSpec, Equivalent, GainsMore, GapShrinks, Scale, Study, ViTSpec
from studies import _recipes as r

OURS = (
    "our own hypothesis, after arXiv 2505.19985 (like a convolution where data is scarce, like a ViT where it is not)"
)
MOVED = ", patches moved"
IMPULSE, MIMETIC, STEM = "impulse attention", "mimetic attention", "convolutional stem"


def _models(vit: ViTSpec) -> dict[str, ViTSpec]:
    return {
        "ViT": vit,
        MIMETIC: replace(vit, attention_start="mimetic"),
        IMPULSE: replace(vit, attention_start="impulse", position_sd=1.0),
        STEM: replace(vit, stem="conv"),
    }


def _scale(base: Scale, data: DataSpec, vit: ViTSpec, sizes: tuple[int, ...], minutes: float | None = None) -> Scale:
    changes: dict[str, Any] = {"data.moved_share": 1.0, "data.moved_patch": vit.patch_size}
    models = _models(vit)
    plain = [Arm(name, model, level=name, against=None if name == "ViT" else "ViT") for name, model in models.items()]
    moved = [
        Arm(name + MOVED, model, level=name + MOVED, against="ViT" if name == "ViT" else "ViT" + MOVED, changes=changes)
        for name, model in models.items()
    ]
    sines = "ViT, sine-cosine positions"
    plain.insert(1, Arm(sines, replace(vit, position="sincos_2d"), level=sines, against="ViT"))
    baseline = replace(base.baseline, name="ResNet")
    return replace(base, data=data, baseline=baseline, arms=(*plain, *moved), train_sizes=sizes, minutes=minutes)


def _worth(name: str) -> str:
    return f"With little data {name} at the start is worth something."


def _falls(name: str) -> str:
    return f"The worth of {name} at the start falls with data: same model, compute and weights."


def _nothing_moved(name: str) -> str:
    return f"With patches moved, {name} at the start is worth nothing."


def _about_a_start(name: str, source: str, conditions: str) -> tuple[Claim, ...]:
    return (
        Better(
            statement=_worth(name),
            source=source,
            conditions=conditions,
            arm=name,
            than="ViT",
            train_size="smallest",
        ),
        GapShrinks(
            kind="hypothesis",
            statement=_falls(name),
            source=OURS,
            leader=name,
            follower="ViT",
        ),
        Equivalent(
            kind="hypothesis",
            statement=_nothing_moved(name),
            source=OURS,
            arm=name + MOVED,
            to="ViT" + MOVED,
            within=0.01,
            train_size="smallest",
        ),
        _worth_more_in_place(name),
    )


def _worth_more_in_place(name: str) -> Claim:
    return GainsMore(
        kind="hypothesis",
        statement=f"With little data {name} is worth more where patches are in place than where they are moved.",
        source=OURS,
        arm=name,
        start="ViT",
        other=name + MOVED,
        other_start="ViT" + MOVED,
        train_size="smallest",
    )


CLAIMS: tuple[Claim, ...] = (
    *_about_a_start(MIMETIC, "arXiv 2305.09828, abstract", "CIFAR-10, over 5 points; ImageNet, over 4 points"),
    *_about_a_start(IMPULSE, "arXiv 2505.19985, abstract", "CIFAR-10, CIFAR-100, STL-10, Food-101, Flowers and Pets"),
    GapShrinks(
        kind="hypothesis",
        statement="The worth of a convolutional stem falls with data.",
        source=OURS,
        leader=STEM,
        follower="ViT",
    ),
    _worth_more_in_place(STEM),
    Better(
        statement="With little data the bias that is built in, the ResNet's, is worth more than one at the start.",
        source="arXiv 2505.19985, section 1",
        conditions="said of convolutional networks and vision transformers on small data sets",
        arm="ResNet",
        than=IMPULSE,
        train_size="smallest",
    ),
)


STUDY = Study(
    question="What is a soft bias, at the start or in the stem, worth to a ViT, and does its worth fall with data?",
    source="arXiv 2505.19985; arXiv 2305.09828; arXiv 2106.14881",
    factor="soft_bias",
    figure="lead_by_size",
    group="data and bias",
    answer=(
        Answer(claim=_worth(IMPULSE), holds="Something", says="with few images impulse attention gives {more}"),
        Answer(
            claim=_nothing_moved(IMPULSE),
            holds="As locality",
            fails="But not as locality",
            says="with patches moved it gives {more}",
        ),
    ),
    scales={
        "smoke": _scale(
            replace(
                r.AT_SMOKE,
                recipe=replace(r.SMOKE, updates=30, augmentation=r.NO_AUGMENTATION),
                search=replace(r.SMOKE_RATES, trials=1, updates=30),
            ),
            r.DIGITS,
            r.VIT_SMOKE,
            (100, 800),
            0.9,
        ),
        "laptop": _scale(
            replace(
                r.AT_LAPTOP,
                recipe=replace(r.SMALL_BATCHES, updates=1000),
                search=replace(r.WIDE_SEARCH, updates=500, share=None),
                seeds=(1, 2, 3, 4, 5),
            ),
            replace(r.FASHION_MNIST, image_size=16),
            ViTSpec(patch_size=4),
            (1000, 55_000),
            42,
        ),
        "gpu": _scale(replace(r.AT_GPU, recipe=r.GPU_UPDATES), r.CIFAR10, r.VIT_CIFAR, (1500, 8000, 45_000), 3000),
        "paper": _scale(
            replace(r.AT_PAPER, recipe=r.PAPER_UPDATES),
            r.IMAGENET,
            ViTSpec.preset("S", patch_size=16),
            (12_800, 128_000, 1_271_167),
        ),
    },
    claims=CLAIMS,
)
