"""Translation: how much invariance does a vision transformer learn from data, and how much has a ResNet for free?

Source: arXiv 2010.11929, section 3.1 ("Inductive bias"): translation equivariance is built into a convolutional network
and has to be learned by a vision transformer. After training on images that are not moved, the test images are moved by
1 to 6 pixels in four directions (what moves in is black): accuracy, and how often the prediction stays the same, by
number of training images. The claims are about the largest shift. One more arm learns from moved images: what
augmentation can replace.

Expected: the ResNet keeps more of its predictions than the transformer at every size; moved training images bring the
transformer close. A ResNet's strides and padding make it less than invariant too.

Cost: smoke 50 s, laptop 22 min on 2 cores; `make study NAME=translation [SCALE=smoke]`.
"""

from dataclasses import replace

from harness.spec import Answer, Arm, Augmentation, Better, GapShrinks, Scale, Study, ViTSpec
from studies import _recipes as r

SOURCE = "arXiv 2010.11929, section 3.1 (Inductive bias)"

FOR_FREE = "With little data a ResNet's predictions survive a shift better than a vision transformer's."
LEARNED = "A vision transformer learns translation from data: the gap in agreement closes."


def _scale(
    base: Scale,
    vit: ViTSpec,
    sizes: tuple[int, ...],
    shifts: tuple[int, ...],
    minutes: float | None = None,
) -> Scale:
    learned = {"recipe.augmentation": Augmentation(shift=shifts[-1])}
    return replace(
        base,
        baseline=replace(base.baseline, name="ResNet"),
        arms=(
            Arm("ViT", vit, level="ViT"),
            Arm("ViT, moved in training", vit, level="ViT, moved in training", changes=learned),
        ),
        train_sizes=sizes,
        test_shifts=shifts,
        minutes=minutes,
    )


STUDY = Study(
    question="How much translation invariance does a ViT learn from data, and how much has a ResNet for free?",
    source=SOURCE,
    factor="architecture",
    figure="agreement_by_size",
    group="data and bias",
    answer=(
        Answer(
            claim=FOR_FREE,
            holds="A ResNet has more for free",
            fails="A ViT has more",
            says="moved, it keeps {more} of its predictions",
        ),
        Answer(
            claim=LEARNED,
            holds="A ViT learns it from data",
            fails="Data does not close the gap",
            says="ten times the images make it {larger}",
        ),
    ),
    scales={
        "smoke": _scale(
            replace(r.AT_SMOKE, recipe=replace(r.SMOKE, augmentation=r.NO_AUGMENTATION), search=r.SMOKE_RATES),
            r.VIT_SMOKE,
            (100, 1000),
            (1, 2),
            0.8,
        ),
        "laptop": _scale(
            replace(r.AT_LAPTOP, seeds=(0, 1, 2, 3), search=replace(r.LAPTOP_SEARCH, repeats=4)),
            r.VIT_XS,
            (1000, 7000, 55_000),
            (1, 2, 3, 4, 6),
            22,
        ),
        "gpu": _scale(
            replace(r.AT_GPU, recipe=replace(r.GPU_UPDATES, augmentation=r.NO_AUGMENTATION), search=r.GPU_RATES),
            r.VIT_CIFAR,
            (1500, 8000, 45_000),
            (1, 2, 4, 6),
            580,
        ),
        "paper": _scale(
            replace(r.AT_PAPER, recipe=replace(r.PAPER_UPDATES, augmentation=r.NO_AUGMENTATION), search=r.PAPER_RATES),
            ViTSpec.preset("S", patch_size=16),
            (128_000, 1_271_167),
            (4, 8, 16, 32),
        ),
    },
    claims=(
        Better(
            kind="hypothesis",
            statement=FOR_FREE,
            source=SOURCE,
            arm="ResNet",
            than="ViT",
            metric="shift_agreement",
            train_size="smallest",
        ),
        GapShrinks(
            kind="hypothesis",
            statement=LEARNED,
            source=SOURCE,
            leader="ResNet",
            follower="ViT",
            metric="shift_agreement",
        ),
        Better(
            kind="hypothesis",
            statement="Moved training images teach a vision transformer more invariance than a ResNet has for free.",
            source=f"our own hypothesis, after {SOURCE}",
            arm="ViT, moved in training",
            than="ResNet",
            metric="shift_agreement",
            train_size="largest",
        ),
    ),
    changes_after_first_look=r.at_laptop(),
)
