"""How much of a ResNet's edge does a convolutional stem give a vision transformer, and does it vanish with data?

Source: arXiv 2010.11929, sections 3.1 and 4.4, Fig. 5: hybrids (patches cut from a ResNet's feature map) are slightly
better than plain vision transformers at small compute; the difference vanishes for larger models. arXiv 2106.14881: a
stem of a few stride-2 convolutions makes a vision transformer better and easier to train. Here the models stay and
the number of training images grows. A stem comes on top of the whole transformer: it is ahead in compute, too, which
the report shows beside the accuracy. At scale laptop the transformer has two blocks: small compute, as in the source.

Expected: with 1,000 images both stems are ahead of plain patches; with all images by less.

Cost: smoke 55 s, laptop 26 min on 2 cores; `make study NAME=hybrid [SCALE=smoke]`.
"""

from dataclasses import replace

from harness.spec import Answer, Arm, Better, Claim, GapShrinks, Scale, Study, ViTSpec
from studies import _recipes as r


def _arms(spec: ViTSpec) -> tuple[Arm, ...]:
    return (
        Arm("patches", spec, level="patches"),
        Arm("convolutional stem", replace(spec, stem="conv"), level="convolutional stem"),
        Arm("ResNet stem", replace(spec, stem="hybrid"), level="ResNet stem"),
    )


BETTER = "With little data a hybrid is better than plain patches."
VANISHES = "The hybrid's edge over plain patches vanishes with scale."

CLAIMS: tuple[Claim, ...] = (
    Better(
        kind="hypothesis",
        statement=BETTER,
        source="arXiv 2010.11929, section 4.4 and Fig. 5 (at small compute)",
        conditions="pre-training on JFT-300M, 7 to 14 epochs, average of five data sets",
        arm="ResNet stem",
        than="patches",
        train_size="smallest",
    ),
    Better(
        statement="A convolutional stem is better than plain patches.",
        source="arXiv 2106.14881, section 5",
        conditions="ImageNet and ImageNet-21k, models of 1 to 36 GFLOPs, one block less where there is a stem",
        arm="convolutional stem",
        than="patches",
        train_size="largest",
    ),
    GapShrinks(
        kind="hypothesis",
        statement=VANISHES,
        source="arXiv 2010.11929, section 4.4 and Fig. 5",
        conditions="there with the size of the model, here with the number of training images",
        leader="ResNet stem",
        follower="patches",
    ),
)


def _scale(base: Scale, spec: ViTSpec, sizes: tuple[int, ...], minutes: float | None = None) -> Scale:
    return replace(base, arms=_arms(spec), train_sizes=sizes, claims=CLAIMS, minutes=minutes)


SMOKE = replace(r.AT_SMOKE, recipe=replace(r.SMOKE, updates=60))
LAPTOP = replace(
    r.AT_LAPTOP,
    recipe=replace(r.SMALL_BATCHES, updates=1200, augmentation=r.LAPTOP.augmentation),
    seeds=tuple(range(9, 14)),
)

STUDY = Study(
    question="How much of a ResNet's edge does a convolutional stem give a ViT, and does it vanish with data?",
    source="arXiv 2010.11929, section 4.4 and Fig. 5; arXiv 2106.14881",
    factor="stem",
    figure="lead_by_size",
    group="architecture",
    answer=(
        Answer(claim=BETTER, holds="A part", says="with few images a ResNet stem gives {more}"),
        Answer(claim=VANISHES, says="with ten times the images its lead is {larger}"),
    ),
    scales={
        "smoke": _scale(SMOKE, r.VIT_SMOKE, (100, 1000), 0.9),
        "laptop": _scale(LAPTOP, replace(r.VIT_XS, patch_size=4, depth=2), (1000, 55_000), 26),
        "gpu": _scale(replace(r.AT_GPU, recipe=r.GPU_UPDATES), r.VIT_CIFAR, (1500, 8000, 45_000), 774),
        "paper": _scale(
            replace(r.AT_PAPER, recipe=r.PAPER_UPDATES),
            ViTSpec.preset("S", patch_size=16),
            (12_800, 128_000, 1_271_167),
        ),
    },
    changes_after_first_look=r.at_laptop(
        "Scale laptop was first run with seeds 0 to 2 at 1,000, 8,000 and 55,000 images: all three claims were open "
        "(ResNet stem over patches at 1,000 images +1.10 points [-0.06, 2.27]; convolutional stem over patches at "
        "55,000 +0.14 [-1.11, 1.39]; the hybrid's edge -0.36 [-1.19, 0.48] per tenfold images). Then six other seeds, "
        "3 to 8, at the smallest and the largest size, which the claims are about: all three open again (+0.48 points "
        "[-0.37, 1.33], +0.34 [-0.18, 0.86], and +0.18 [-0.43, 0.79] per tenfold images).",
        "Third run: two blocks for four, and ten other seeds, 9 to 18. The sources speak of small compute, and beside "
        "a smaller transformer there is more to see of a stem; the trainings are shorter, which makes time for ten.",
    ),
)
