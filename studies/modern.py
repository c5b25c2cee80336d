"""Which parts of today's vision transformers pay, and do SwiGLU and layer scale go together?

Source: arXiv 2602.08071 (ViT-5): RMSNorm, layer scale, QK-norm, rotary positions beside learned ones, registers and no
bias of queries, keys and values take ViT-B from 83.8 (DeiT-III) to 84.2 on ImageNet; SwiGLU, the language models'
choice, is left out, since beside layer scale it gates twice. All parts, then less one at a time; every arm is compared
with all of them. There the registers have rotary positions too, here they have none; and in the authors' code those of
patches have base 10,000, here 100, as arXiv 2403.13298 has it for as few patches.

Expected: within few updates the set gains little over the plain model, and no part much; QK-norm and layer scale, which
are there for deep models and long trainings, least. Layer scale starts at 0.1, not at the source's 1e-4, where
trainings are too short for it to grow.

Cost: smoke 55 s, laptop 29 min on 2 cores; `make study NAME=modern [SCALE=smoke]`.
"""

from dataclasses import replace
from typing import Any

from harness.spec import Answer, Arm, Better, GainsMore, Scale, Study, ViTSpec
from studies import _recipes as r

SOURCE = "arXiv 2602.08071"
CONDITIONS = "ViT-5-B against DeiT-III-B (84.2 and 83.8), ImageNet"
SET_IS_BETTER = "The set of ViT-5 is better than a plain vision transformer."
TOGETHER = "SwiGLU gains more without layer scale than beside it."

PARTS: dict[str, tuple[str, Any, Any]] = {
    "LayerNorm": ("norm_type", "rms", "layer"),
    "no QK-norm": ("qk_norm", True, False),
    "no rotary positions": ("rotary", 100.0, None),
    "no learned positions": ("position", "learned_1d", "none"),
    "no registers": ("registers", 4, 0),
    "biases of queries": ("qkv_bias", False, True),
}
"""For the arm without each part its field, the value in the set, and the value there; layer scale differs by scale."""


def _scale(base: Scale, plain: ViTSpec, layer_scale: float, minutes: float | None = None) -> Scale:
    every: dict[str, Any] = {field: value for field, value, _ in PARTS.values()}
    modern = replace(plain, layer_scale=layer_scale, **every)
    less: dict[str, dict[str, Any]] = {name: {field: without} for name, (field, _, without) in PARTS.items()}
    less |= {"no layer scale": {"layer_scale": None}, "SwiGLU": {"mlp": "swiglu"}}
    less |= {"SwiGLU, no layer scale": {"mlp": "swiglu", "layer_scale": None}}
    arms = [Arm("plain", plain, level="plain"), Arm("all parts", modern, level="all parts", against="plain")]
    for name, changes in less.items():
        arms.append(Arm(name, replace(modern, **changes), level=name, against="all parts"))
    return replace(base, arms=tuple(arms), minutes=minutes)


SMOKE = replace(r.AT_SMOKE, recipe=replace(r.SMOKE, updates=40), search=replace(r.SMOKE_SEARCH, trials=1))

STUDY = Study(
    question="Which parts of today's ViTs pay at this amount of data, and do SwiGLU and layer scale go together?",
    source="arXiv 2602.08071 (ViT-5)",
    factor="parts",
    figure="differences",
    group="inside the ViT",
    answer=(
        Answer(
            claim=SET_IS_BETTER,
            holds="The set does",
            fails="The set does not",
            says="a ViT with all parts reaches {more}",
        ),
        Answer(
            arm="SwiGLU",
            than="all parts",
            holds="SwiGLU pays",
            fails="SwiGLU costs",
            says="in place of GELU it gives {more}",
        ),
    ),
    scales={
        "smoke": _scale(SMOKE, r.VIT_SMOKE, 0.1, 0.9),
        "laptop": _scale(replace(r.AT_LAPTOP, search=r.WIDE_SEARCH), r.VIT_XS, 0.1, 29),
        "gpu": _scale(r.AT_GPU, r.VIT_CIFAR, 0.1, 460),
        "paper": _scale(r.AT_PAPER, ViTSpec.preset("S", patch_size=16), 1e-4),
    },
    claims=(
        Better(statement=SET_IS_BETTER, source=SOURCE, conditions=CONDITIONS, arm="all parts", than="plain"),
        GainsMore(
            statement=TOGETHER,
            source=SOURCE,
            conditions="ImageNet; said there of SwiGLU beside layer scale, which gates twice, and so is left out",
            arm="SwiGLU, no layer scale",
            start="no layer scale",
            other="SwiGLU",
            other_start="all parts",
        ),
        Better(
            statement="Beside layer scale GELU is better than SwiGLU.",
            source=SOURCE,
            conditions="ImageNet",
            arm="all parts",
            than="SwiGLU",
        ),
        Better(
            statement="Rotary positions help beside learned ones.",
            source=SOURCE,
            conditions="ImageNet",
            arm="all parts",
            than="no rotary positions",
        ),
        Better(
            statement="Learned positions help beside rotary ones.",
            source=SOURCE,
            conditions="ImageNet",
            arm="all parts",
            than="no learned positions",
        ),
    ),
)
