"""Pre-norm or post-norm: which trains better, at which depth, and which of them needs warm-up?

Source: arXiv 2002.04745: with LayerNorm after each residual sum the gradients near the output are large at the start,
so that training needs a warm-up of the learning rate; with LayerNorm before each sublayer it does not. The vision
transformer is pre-norm (arXiv 2010.11929, equations 2 and 3).

Expected: little difference at 2 blocks; at 12 blocks post-norm without warm-up is worst or diverges. A divergence is a
result here and is shown as one. Gradients are not clipped, which could do what warm-up is for; a tuned learning rate
still can.

Cost: smoke 55 s, laptop 25 min on 2 cores; `make study NAME=norm [SCALE=smoke]`.
"""

from dataclasses import replace
from typing import Any, Literal

from harness.spec import Answer, Arm, Better, Equivalent, GainsMore, Scale, Study, ViTSpec
from studies import _recipes as r

SOURCE = "arXiv 2002.04745, sections 3 and 4"
CONDITIONS = "machine translation (IWSLT14, WMT14) and BERT, Adam"
WARM_UP = "A deep post-norm transformer trains better with warm-up than without."
NORMS: tuple[Literal["pre", "post"], ...] = ("pre", "post")


def _arms(spec: ViTSpec, depths: tuple[int, ...]) -> tuple[Arm, ...]:
    arms = []
    for norm in NORMS:
        for told, changes in (("", {}), (", no warm-up", {"recipe.warmup": 0.0})):
            series = f"{norm}-norm{told}"
            for depth in depths:
                model = replace(spec, norm=norm, depth=depth)
                arms.append(Arm(f"{series}, {depth} blocks", model, level=depth, series=series, changes=changes))
    return tuple(arms)


def _scale(base: Scale, spec: ViTSpec, depths: tuple[int, ...], minutes: float | None = None) -> Scale:
    deepest = f", {depths[-1]} blocks"
    claims = (
        Better(
            statement=WARM_UP,
            source=SOURCE,
            conditions=CONDITIONS,
            arm="post-norm" + deepest,
            than="post-norm, no warm-up" + deepest,
        ),
        Equivalent(
            statement="A deep pre-norm transformer needs no warm-up.",
            source=SOURCE,
            conditions=CONDITIONS,
            arm="pre-norm, no warm-up" + deepest,
            to="pre-norm" + deepest,
            within=0.01,
        ),
        GainsMore(
            statement="Warm-up gains more for post-norm than for pre-norm.",
            source=SOURCE,
            conditions=CONDITIONS,
            arm="post-norm" + deepest,
            start="post-norm, no warm-up" + deepest,
            other="pre-norm" + deepest,
            other_start="pre-norm, no warm-up" + deepest,
        ),
    )
    answer = (
        Answer(
            arm="post-norm" + deepest,
            than="pre-norm" + deepest,
            holds="Post-norm",
            fails="Pre-norm",
            says=f"with {depths[-1]} blocks post-norm reaches {{more}} than pre-norm",
        ),
        Answer(
            claim=WARM_UP,
            holds="Post-norm needs warm-up",
            fails="Post-norm needs none",
            says="warm-up gives post-norm {more}",
        ),
    )
    recipe = replace(base.recipe, clip_norm=None)
    return replace(base, recipe=recipe, arms=_arms(spec, depths), claims=claims, answer=answer, minutes=minutes)


def _with_other_norms(scale: Scale, spec: ViTSpec) -> Scale:
    """Two more series: RMSNorm in pre-norm blocks, and QK-norm in post-norm blocks without warm-up."""
    series: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
        ("pre-norm, RMSNorm", {"norm_type": "rms"}, {}),
        ("post-norm, QK-norm, no warm-up", {"norm": "post", "qk_norm": True}, {"recipe.warmup": 0.0}),
    )
    depths, arms = sorted({arm.model.depth for arm in scale.arms if isinstance(arm.model, ViTSpec)}), list(scale.arms)
    for name, parts, changes in series:
        for depth in depths:
            model = replace(spec, depth=depth, **parts)
            arms.append(Arm(f"{name}, {depth} blocks", model, level=depth, series=name, changes=changes))
    deepest = f", {depths[-1]} blocks"
    claims = (
        Equivalent(
            statement="RMSNorm is as good as LayerNorm.",
            source="arXiv 1910.07467",
            conditions="recurrent models and transformers for language; the bound of one point is ours",
            arm="pre-norm, RMSNorm" + deepest,
            to="pre-norm" + deepest,
            within=0.01,
        ),
        Better(
            kind="hypothesis",
            statement="Without warm-up a deep post-norm transformer trains better with QK-norm.",
            source="our own hypothesis, after arXiv 2302.05442 (ViT-22B), whose attention diverged without it",
            arm="post-norm, QK-norm, no warm-up" + deepest,
            than="post-norm, no warm-up" + deepest,
        ),
    )
    return replace(scale, arms=tuple(arms), claims=(*scale.claims, *claims))


SMOKE = replace(
    r.AT_SMOKE,
    recipe=replace(r.SMOKE, updates=60, optimizer="adamw", learning_rate=3e-3),
    search=replace(r.SMOKE_SEARCH, trials=1),
)
LAPTOP = replace(
    r.AT_LAPTOP,
    recipe=r.LAPTOP_ADAMW,
    seeds=tuple(range(9, 14)),
    search=r.ADAMW_SEARCH,
)

VIT_S = ViTSpec.preset("S", patch_size=16)

STUDY = Study(
    question="Pre-norm or post-norm: which trains better, at which depth, and which of them needs warm-up?",
    source="arXiv 2002.04745 and arXiv 2010.11929, equations 2 and 3",
    factor="depth",
    figure="accuracy_by_level",
    group="inside the ViT",
    scales={
        "smoke": _scale(SMOKE, r.VIT_SMOKE, (2, 6), 0.9),
        "laptop": _scale(LAPTOP, r.VIT_XS, (2, 12), 25),
        "gpu": _with_other_norms(_scale(r.AT_GPU, r.VIT_CIFAR, (3, 6, 12), 860), r.VIT_CIFAR),
        "paper": _with_other_norms(_scale(r.AT_PAPER, VIT_S, (6, 12, 24)), VIT_S),
    },
    changes_after_first_look=r.at_laptop(
        r.RESNET_RATES_MOVED,
        "Scale laptop was first run with seeds 0 to 2 at 2, 6 and 12 blocks: all three claims, which are about 12, "
        "were inconclusive (post-norm with over without warm-up +0.08 points [-0.78, 0.94]; pre-norm without over with "
        "-0.46 [-1.23, 0.31]). Then six other seeds, 3 to 8, at 2 and 12 blocks: all three open again (-0.18 [-0.52, "
        "0.16]; -0.62 [-1.34, 0.09]; what post-norm gains from warm-up less what pre-norm gains -0.80 [-1.66, 0.06]).",
        "Third run: no clipping of the gradients, which could do what warm-up is for, and eight other seeds, 9 to 16.",
    ),
)
