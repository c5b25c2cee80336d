"""How many training images does a vision transformer need to catch up with a ResNet?

Source: arXiv 2010.11929, section 4.3 and Fig. 4 ("large scale training trumps inductive bias"): with 9M images ViT-B/32
is far below ResNet-50, from 90M it is above. Protocol here: every size gets the same number of updates, so that the
images seen stay equal (as in ConViT, arXiv 2103.10697, Table 2); `dataset_size_epochs` has the other protocol of the
literature. Subsets are stratified and nested; every arm is tuned at every size.

Expected: the ResNet leads at the smallest size and its lead shrinks with the logarithm of the size. A crossing within
60,000 small images, without pre-training, would be a surprise: the claim is there to be tested. Scales smoke and laptop
have both models on images, too, of which one permutation moves all patches that the ViT cuts, as in `data_scale`: what
the ResNet loses by it is what its bias is worth, and the ViT should lose nothing.

Scale laptop has the models and the 16 pixels of `data_scale`, so that the two can be laid side by side. How far it
goes: 2,400 updates of 64 images are 15 passes over 10,240 images, the largest size, and 307 over 500; 15 passes over
all 55,000 images would take two hours. There is no augmentation, which would be data, too, and means little once
patches are moved. Learning rates are tuned at every size, in trials half as long as the training; weight decay is
fixed. Shorter trials had chosen rates and weight decays that were too high for the training. Whether updates or data
limit an arm at a size, the report says.

Cost: smoke 54 s, laptop 42 min on 2 cores; `make study NAME=dataset_size [SCALE=smoke]`. For CIFAR-100 at scale gpu:
`SET="data.source=cifar100"`.
"""

from dataclasses import replace

from harness.spec import (
    Answer,
    Arm,
    Better,
    Claim,
    Crosses,
    Equivalent,
    GainsMore,
    GapShrinks,
    ResNetSpec,
    Scale,
    Study,
    ViTSpec,
)
from studies import _recipes as r
from studies._looks import AttentionLocalises

SOURCE = "arXiv 2010.11929, section 4.3 and Fig. 4"
CONDITIONS = "ViT-B/32 and ResNet-50, pre-trained on 9M to 300M images, ImageNet 5-shot"

OVERTAKES = "With more data still, within the sizes measured, the vision transformer overtakes the ResNet."
ANSWER = (
    Answer(
        claim=OVERTAKES,
        holds="{at}",
        fails="More than were measured",
        says="with the most images a ViT reaches {more} than a ResNet",
    ),
)


def claims(resnet: str, vit: str) -> tuple[Claim, ...]:
    """Both halves of the finding, and the crossing."""
    return (
        Better(
            statement="With little data the ResNet's inductive bias wins.",
            source=SOURCE,
            conditions=CONDITIONS,
            arm=resnet,
            than=vit,
            train_size="smallest",
        ),
        GapShrinks(
            statement="With more data the gap shrinks.",
            source=SOURCE,
            conditions=CONDITIONS,
            leader=resnet,
            follower=vit,
        ),
        Crosses(
            statement=OVERTAKES,
            source=SOURCE,
            conditions=CONDITIONS + "; the crossing lies between 9M and 90M images there",
            leader=resnet,
            follower=vit,
            seen_at=(9e6, 90e6),
        ),
    )


OURS = f"our own hypothesis, after {SOURCE} and section 3.1"
PATCHES = ", patches moved"


def with_patches_moved(scale: Scale) -> Scale:
    """Both models on images of which all patches are moved, too, against each other, with what we expect of it."""
    (vit_arm,) = scale.arms
    resnet, vit, spec = scale.baseline.name, vit_arm.name, vit_arm.model
    assert isinstance(spec, ViTSpec)
    moved = {"data.moved_share": 1.0, "data.moved_patch": spec.patch_size}
    arms = (
        Arm(vit + PATCHES, spec, level=vit + PATCHES, against=resnet + PATCHES, changes=moved),
        Arm(resnet + PATCHES, scale.baseline.model, level=resnet + PATCHES, changes=moved),
    )
    more: tuple[Claim, ...] = (
        Crosses(
            kind="hypothesis",
            statement="Where patches are moved, the vision transformer overtakes the ResNet.",
            source=OURS,
            leader=resnet + PATCHES,
            follower=vit + PATCHES,
        ),
        GainsMore(
            kind="hypothesis",
            statement="Its bias is what the ResNet leads by: with patches moved it leads by less.",
            source=OURS,
            arm=vit + PATCHES,
            start=resnet + PATCHES,
            other=vit,
            other_start=resnet,
            train_size="largest",
        ),
        GapShrinks(
            kind="hypothesis",
            statement="What its bias is worth to the ResNet, its lead over itself with patches moved, falls with data.",
            source=OURS,
            leader=resnet,
            follower=resnet + PATCHES,
        ),
        Equivalent(
            kind="hypothesis",
            statement="A vision transformer does not mind where its patches lie.",
            source="arXiv 2010.11929, section 3.1: without its position table it is blind to their order",
            arm=vit + PATCHES,
            to=vit,
            within=0.01,
            train_size="largest",
        ),
    )
    return replace(scale, arms=(*scale.arms, *arms), claims=(*scale.claims, *more))


def _looked_into(scale: Scale) -> Scale:
    claim = AttentionLocalises(
        statement="With more data the lower blocks attend more locally.",
        source="arXiv 2108.08810, on local and global information; arXiv 2010.11929, Fig. 11",
        conditions="large models, with pre-training on JFT-300M and without",
        arm=scale.arms[0].name,
    )
    return replace(scale, claims=(*scale.claims, claim))


SMOKE = Scale(
    data=r.DIGITS,
    recipe=r.SMOKE,
    baseline=Arm("ResNet-8", r.RESNET_SMOKE),
    arms=(Arm("ViT/2", r.VIT_SMOKE, level="ViT/2"),),
    train_sizes=(50, 200, 800),
    search=r.SMOKE_SEARCH,
    claims=claims("ResNet-8", "ViT/2"),
    minutes=0.7,
)
LAPTOP = replace(
    r.AT_LAPTOP,
    data=replace(r.FASHION_MNIST, image_size=16),
    baseline=Arm("ResNet-8", ResNetSpec(depth=8, width=8)),
    arms=(Arm("ViT/4", ViTSpec(patch_size=4, width=32, depth=4, heads=4), level="ViT/4"),),
    claims=claims("ResNet-8", "ViT/4"),
    recipe=replace(r.SMALL_BATCHES, updates=2400),
    train_sizes=(500, 2500, 10_240),
    seeds=(9, 10, 11, 12, 13),
    search=replace(r.WIDE_SEARCH, trials=3, updates=1200, share=None),
    minutes=42,
)
GPU = Scale(
    data=r.CIFAR10,
    recipe=r.GPU_UPDATES,
    baseline=Arm("ResNet-18", r.RESNET18),
    arms=(Arm("ViT/4", r.VIT_CIFAR, level="ViT/4"),),
    train_sizes=(500, 1500, 5000, 15_000, 45_000),
    seeds=r.FIVE_SEEDS,
    search=r.GPU_SEARCH,
    claims=claims("ResNet-18", "ViT/4"),
    minutes=774,
)
PAPER = Scale(
    data=r.IMAGENET,
    recipe=r.PAPER_UPDATES,
    baseline=Arm("ResNet-50", r.RESNET50),
    arms=(Arm("ViT-B/32", ViTSpec.preset("B", patch_size=32), level="ViT-B/32"),),
    train_sizes=(12_800, 64_000, 128_000, 384_000, 640_000, 1_271_167),  # 1 to 100 %
    search=r.PAPER_SEARCH,
    claims=claims("ResNet-50", "ViT-B/32"),
)

STUDY = Study(
    question="How many training images does a vision transformer need to catch up with a ResNet, at equal updates?",
    source=SOURCE,
    factor="architecture",
    figure="lead_by_size",
    group="data and bias",
    answer=ANSWER,
    scales={
        "smoke": with_patches_moved(
            replace(SMOKE, train_sizes=(50, 800), recipe=replace(r.SMOKE, augmentation=r.NO_AUGMENTATION), minutes=0.9)
        ),
        "laptop": with_patches_moved(LAPTOP),
        "gpu": _looked_into(GPU),
        "paper": _looked_into(PAPER),
    },
    changes_after_first_look=r.at_laptop(
        "Scale laptop was first run with 1,000 updates of 128 images, 5 seeds, and 8 trials of 500 updates "
        "that tuned the strength of the augmentation too. The ResNet led by 3.5 to 4.4 points at every "
        "size; the claim about the gap was inconclusive (+0.24 points [-0.12, 0.60] per tenfold images) and "
        "the crossing contradicted. The vision transformer's training loss at 55,000 images was still 0.35, "
        "so that the budget and not the data limited it, and two of the ResNet's chosen learning rates lay "
        "on the edge of their range. Changed: more updates of smaller batches, 3 seeds (for time), the "
        "augmentation fixed, a wider range of learning rates.",
        "Second run, 4,500 updates of 64 images, 6 trials of 900 updates over learning rate and weight "
        "decay: the ResNet led by 4.7, 3.3, 3.5, 3.0 and 4.9 points from 250 to 55,000 images, the claim "
        "about the gap was inconclusive (+0.01 points [-0.44, 0.46]). At 55,000 images the short trials had "
        "chosen a weight decay (0.24) that is too strong for a training five times as long: its training "
        "loss was no lower than before. Changed: weight decay is fixed, the strength of the augmentation is "
        "tuned again (0 or 0.5), 4,000 updates.",
        "Third run, with these settings: the ResNet led by 3.6, 4.3, 3.5, 2.3 and 2.7 points, the gap shrank by 0.64 "
        "points [0.18, 1.10] per tenfold images: reproduced. Since then the training loop has changed, so that it was "
        "run again. Two statements say more exactly what was computed for them from the start: that the gap 'shrinks' "
        "(not 'closes'), and that a crossing is looked for 'within the sizes measured'.",
        r.RESNET_RATES_MOVED,
        "Fourth run, with that range: the ResNet led by 3.5, 4.4, 4.2, 3.2 and 3.6 points, the claim about the gap was "
        "inconclusive (the transformer gained 0.17 points [-0.53, 0.87] per tenfold images). With 16,000 and 55,000 "
        "images the trials, a fifth as long as the training, had chosen a learning rate of 0.027 for the transformer; "
        "the run before had chosen 0.01 and 0.004, and its transformer reached about a point more (88.98 and 90.09 %, "
        "now 87.95 and 89.22 %). Changed for both: trials half as long as the training, as in the other studies; to "
        "make room for them 3,600 updates, and four sizes with five fresh seeds in place of five sizes with three.",
        "Fifth run, with these settings: the ResNet led by 4.3, 4.0, 3.4 and 2.6 points from 250 to 55,000 images, and "
        "the gap shrank by 0.74 points [0.21, 1.27] per tenfold images: reproduced. But 55,000 images were seen 4.2 "
        "times, so that there the ResNet was limited by its updates, not by its data. Changed: two arms on images with "
        "all patches moved, and hypotheses on them; to make room for these, and for 15 passes over the largest size, "
        "images of 16 pixels, the models of data_scale, three sizes of 10,240 images at most, three fresh seeds; no "
        "augmentation, and only learning rates are tuned. In the words of the fields: image size, resplit (each seed "
        "draws its own images), train sizes, the search's sampler (qmc), repeats and widenings.",
        "Sixth run, with these settings: the ResNet led by 3.4, 3.0 and 1.7 points from 500 to 10,240 images; after "
        "six looks, at a level of 99.17 %, and with the luck of three searches in the intervals, all claims are left "
        "open, also those about moved patches, where it led by 4.2, 1.8 and 1.0 points. Extended, with nothing else "
        "changed: five searches and five seeds in place of three, as an interval of three searches rests on two "
        "degrees of freedom.",
    ),
)
