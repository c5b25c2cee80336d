"""What the studies share: models, data, recipes and search spaces at each scale.

The learning rates and weight decays here are where every search starts (trial 0 of every arm), not what is reported.
"""

from dataclasses import replace
from typing import Any

from harness.spec import (
    Arm,
    Augmentation,
    Choice,
    DataSpec,
    LogUniform,
    Recipe,
    ResNetSpec,
    Scale,
    Search,
    Space,
    ViTSpec,
)

AS_PUBLISHED: dict[str, Any] = {"initialisation": "truncated_normal", "zero_head": False}
"""How the vision transformers of most studies start; the defaults of `ViTSpec` are another start."""

# --- smoke: scikit-learn's digits, 8 px; shows that everything works, not what is true -------------------------------
DIGITS = DataSpec(source="digits")
SMOKE = Recipe(
    updates=150,
    batch_size=64,
    optimizer="muon",
    learning_rate=1e-2,
    weight_decay=0.05,
    evaluations=5,
    augmentation=Augmentation(shift=1),
)
VIT_SMOKE = ViTSpec(patch_size=2, width=32, depth=2, heads=2, pool="mean", initialisation="xavier", zero_head=True)
RESNET_SMOKE = ResNetSpec(depth=8, width=8)

# --- laptop: Fashion-MNIST, 28 px, on two CPU cores ------------------------------------------------------------------
FASHION_MNIST = DataSpec(source="fashion_mnist", resplit=True)
"""Each seed has training, validation and test images of its own, so that no result is of one test set alone."""
LAPTOP = Recipe(
    updates=700,
    batch_size=128,
    optimizer="muon",
    learning_rate=2e-2,
    weight_decay=0.05,
    evaluations=5,
    augmentation=Augmentation(shift=2, flip=True, strength=0.5),
)
"""Chosen by validation accuracy (%) on all 55,000 images, not augmented, at equal images seen; one seed unless two are
given, and two differ by up to .5. ViT/7 after 320,000 and ResNet-8 after 220,000 images, 75 to 85 s of a core each:

    batch 128, learning rate .02    ViT 91.5          ResNet 92.9          (`LAPTOP_PLAIN`)
    batch 64, learning rate .01     ViT 91.0, 91.5    ResNet 92.9, 93.0    7 % more time for the ViT
    AdamW, .003, batch 64           ViT 89.0          ResNet 92.3
    ViT with layer scale .1 91.6; xavier start and zero head 90.8; MLP of twice the width instead of four 91.0;
    convolutional stem 91.5 at 2.5 times the time. None is worth a difference to the standard model.

700 updates show 90,000 images. Trials of half of them order four rates as the whole training does; of a quarter, they
prefer higher ones (validation accuracy, one seed, not augmented):

    ViT        .004    .01   .025   .063        ResNet-8     .01   .032     .1    .32
    175 upd.   76.2   82.2   83.8   82.8                    86.6   87.3   86.5   84.4
    350        83.9   86.3   86.4   85.0                    90.1   90.3   90.3   89.9
    700        88.0   88.1   88.4   86.8                    91.4   91.8   91.7   91.4"""
VIT_XS = ViTSpec(patch_size=7, width=64, depth=4, heads=4, pool="mean", **AS_PUBLISHED)
RESNET8 = ResNetSpec(depth=8)

# --- gpu: CIFAR-10 and CIFAR-100, 32 px ------------------------------------------------------------------------------
CIFAR10 = DataSpec(source="cifar10", resplit=True)
GPU = Recipe(
    epochs=100,
    batch_size=256,
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=0.05,
    label_smoothing=0.1,
    evaluations=20,
    augmentation=Augmentation(shift=4, flip=True, erase=0.25),
)
GPU_UPDATES = replace(GPU, epochs=None, updates=17_600)
"""100 epochs of 45,000 images; for studies that vary the number of training images."""
VIT_CIFAR = ViTSpec(patch_size=4, width=256, depth=6, heads=4, mlp_ratio=2.0, pool="mean", **AS_PUBLISHED)
RESNET18 = ResNetSpec(depth=18)

# --- paper: ImageNet, 224 px, the training of Table 3 (arXiv 2010.11929) ---------------------------------------------
IMAGENET = DataSpec(source="imagenet")
PAPER = Recipe(
    epochs=300,
    batch_size=4096,
    accumulate=8,
    optimizer="adamw",
    learning_rate=3e-3,
    weight_decay=0.3,
    warmup=0.11,  # 10,000 of about 93,000 updates
    clip_norm=1.0,
    evaluations=30,
    augmentation=Augmentation(flip=True),
)
PAPER_UPDATES = replace(PAPER, epochs=None, updates=93_000)
"""300 epochs of ImageNet; for studies that vary the number of training images."""
RESNET50 = ResNetSpec(depth=50, stem="imagenet")

NO_AUGMENTATION = Augmentation()
LAPTOP_PLAIN = replace(LAPTOP, augmentation=NO_AUGMENTATION)
"""For all 55,000 images, each of which 700 updates see 1.6 times: augmentation would only slow learning."""
SMALL_BATCHES = replace(LAPTOP_PLAIN, batch_size=64, learning_rate=1e-2)
"""For studies that vary the number of training images, with updates of their own: 7 % more time for as many images."""
LAPTOP_ADAMW = replace(LAPTOP_PLAIN, optimizer="adamw", learning_rate=3e-3)

# --- search spaces: what is tuned for every arm alike ----------------------------------------------------------------
MUON_RANGES: Space = {
    "learning_rate": LogUniform(low=2e-3, high=2e-1),
    "weight_decay": LogUniform(low=1e-3, high=1.0),
}
ADAMW_RANGES: Space = {**MUON_RANGES, "learning_rate": LogUniform(low=3e-4, high=3e-2)}
SGD_RANGES: Space = {
    "learning_rate": LogUniform(low=3e-2, high=3.0),
    "weight_decay": LogUniform(low=1e-5, high=1e-2),  # an L2 penalty, not decoupled
}
NUISANCES: Space = {
    "learning_rate": LogUniform(low=1e-3, high=1e-1),
    "weight_decay": LogUniform(low=1e-3, high=1.0),
    "augmentation.strength": Choice(values=(0.0, 0.5, 1.0)),
}
"""With Muon, where the best augmentation is not known: how much it helps depends on the data size."""
RESNET_MUON: Space = {"learning_rate": LogUniform(low=5e-3, high=5e-1)}
RESNET_ADAMW: Space = {"learning_rate": LogUniform(low=1e-3, high=1e-1)}
"""At scale laptop: as wide as a ViT's, but higher. With AdamW a ResNet is about as good from .006 to .03, with Muon
from .02 to .2: up to the upper edge of a ViT's range."""
LARGE_NUISANCES: Space = {**NUISANCES, "learning_rate": LogUniform(low=1e-4, high=1e-2)}

SMOKE_SEARCH = Search(space=NUISANCES, trials=2, updates=60)
LAPTOP_MUON: Space = {"learning_rate": LogUniform(low=5e-3, high=8e-2)}
LAPTOP_RESNET_MUON: Space = {"learning_rate": LogUniform(low=1e-2, high=1.6e-1)}
LAPTOP_ADAMW_RATES: Space = {"learning_rate": LogUniform(low=7.5e-4, high=1.2e-2)}
LAPTOP_RESNET_ADAMW: Space = {"learning_rate": LogUniform(low=2e-3, high=3.2e-2)}
LAPTOP_SGD: Space = {"learning_rate": LogUniform(low=5e-2, high=3.2)}
"""At scale laptop: a factor of sixteen in all, four to either side of the recipe's own rate for a transformer; for SGD,
with which nothing is known so well, 64."""
LAPTOP_SEARCH = Search(
    space=LAPTOP_MUON,
    by_family={"resnet": LAPTOP_RESNET_MUON},
    trials=3,
    repeats=5,
    share=0.5,
    sampler="qmc",
    widenings=1,
)
"""Learning rates alone: the recipe's own, one of a range's lower half and one of its upper."""
LAPTOP_PLANE = replace(LAPTOP_SEARCH, space={**LAPTOP_MUON, "weight_decay": LogUniform(low=5e-3, high=5e-1)})
"""For studies that ask about weight decay, or whose arms do not all search their rate."""
ADAMW_SEARCH = replace(LAPTOP_SEARCH, space=LAPTOP_ADAMW_RATES, by_family={"resnet": LAPTOP_RESNET_ADAMW})
ADAMW_PLANE = replace(ADAMW_SEARCH, space={**LAPTOP_ADAMW_RATES, "weight_decay": LAPTOP_PLANE.space["weight_decay"]})
WIDE_SEARCH = replace(
    LAPTOP_SEARCH,
    space={"learning_rate": MUON_RANGES["learning_rate"]},
    by_family={"resnet": RESNET_MUON},
    trials=2,
)
"""The recipe's own rate and one of a range of a factor of a hundred: for data_scale, dataset_size, modern, pretraining,
receptive_field and soft_bias, which may change ranges or trials of it."""
GPU_SEARCH = Search(space=LARGE_NUISANCES, trials=5, repeats=5, updates=6000, sampler="qmc", widenings=1)
PAPER_SEARCH = Search(space=LARGE_NUISANCES, trials=8, updates=30_000)
SMOKE_RATES = replace(SMOKE_SEARCH, space=MUON_RANGES)
GPU_RATES = replace(GPU_SEARCH, space={**ADAMW_RANGES, "learning_rate": LARGE_NUISANCES["learning_rate"]})
PAPER_RATES = replace(PAPER_SEARCH, space=GPU_RATES.space)
"""The same without the strength of the augmentation."""

RESNET_RATES_MOVED = (
    "The range of the ResNet's learning rates was moved up (Muon: 0.005 to 0.5; AdamW: 0.001 to 0.1; before, that of "
    "the transformers) and the ResNet tuned and trained again: in three of the first studies its chosen rate lay on "
    "the upper edge (0.18 and 0.20 of 0.2, 0.029 of 0.03)."
)
"""For `changes_after_first_look` of the studies that were run with the first ranges."""

SEARCHED_SEVERAL_TIMES = (
    "Each arm is searched several times, with settings that fill the ranges evenly and some beyond an edge on which "
    "the best one lies, and the seeds take turns with what the searches choose; before, one search by TPE chose for "
    "all seeds, so that its luck was in no interval. The numbers of updates, trials and seeds are those that fit this."
)
"""For `changes_after_first_look` of every study that was run before."""


SEARCHED_NEARER = (
    "Each search tries three rates within a factor of four of the recipe's own, all on the search's own seed. Before, "
    "it tried two in a range of a factor of a hundred, and the recipe's own rate had one trial for all searches, on "
    "other validation images than most of theirs: almost every search left the recipe as it was. The seeds are others."
)
"""For those that were run with `WIDE_SEARCH`."""


def at_laptop(*changes: str) -> dict[str, tuple[str, ...]]:
    """`changes_after_first_look` of a study whose results at scale laptop had been seen, and no others."""
    return {"laptop": (*changes, SEARCHED_SEVERAL_TIMES)}


FIVE_SEEDS = (0, 1, 2, 3, 4)
"""Why five, for five searches: each search is a replicate, and so is the seed that confirms what it has chosen. Few
searches of many trials leave an interval few degrees of freedom: with five of three trials and five seeds the interval
of a difference is a seventh narrower than with four of four trials and four seeds, which take as long, and what is
chosen is hardly worse (.00 to .06 points; `tests/studies/test_designs.py`). The smallest true difference of
test accuracy, in points, that the comparisons of results/ show with power .8 (of one search an arm, but for the studies
that `results/README.md` names). Median, and from the most to the least exact:

     3 seeds   0.80 (0.31 to 4.03)
     5 seeds   0.94 (0.30 to 10.28)
     6 seeds   1.21 (0.66 to 1.38)
     8 seeds   0.71 (0.47 to 1.05)
    10 seeds   0.56 (0.46 to 0.61)

Where a claim stays open, `--seeds 10` with `search.repeats=10` extends a study. Three or four, one for each search, are
for studies whose time goes into training sizes and whose arms differ by several points. `results/README.md` has each
study's."""

# --- scales to start from: `replace(AT_LAPTOP, arms=..., minutes=...)` -----------------------------------------------
AT_SMOKE = Scale(
    data=DIGITS,
    recipe=SMOKE,
    baseline=Arm("ResNet-8", RESNET_SMOKE),
    arms=(),
    search=SMOKE_SEARCH,
)
AT_LAPTOP = Scale(
    data=FASHION_MNIST,
    recipe=LAPTOP_PLAIN,
    baseline=Arm("ResNet-8", RESNET8),
    arms=(),
    seeds=FIVE_SEEDS,
    search=LAPTOP_SEARCH,
)
AT_GPU = Scale(
    data=CIFAR10,
    recipe=GPU,
    baseline=Arm("ResNet-18", RESNET18),
    arms=(),
    seeds=FIVE_SEEDS,
    search=GPU_SEARCH,
)
AT_PAPER = Scale(
    data=IMAGENET,
    recipe=PAPER,
    baseline=Arm("ResNet-50", RESNET50),
    arms=(),
    search=PAPER_SEARCH,
)
