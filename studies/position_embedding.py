"""Does a vision transformer need to know where its patches are, and does it matter how it is told?

Source: arXiv 2010.11929, appendix D.4 and Table 8 (5-shot ImageNet): without position embedding .614, learned 1-D .642,
learned 2-D .640, relative .640. Encodings differ by .002 at most, none costs .026 or more. The fixed
sines and cosines on two axes are those of plain ViT-S (arXiv 2205.01580).

Expected: none is worst; the four others lie within a point of each other.

Cost: smoke 50 s, laptop 18 min on 2 cores; `make study NAME=position_embedding [SCALE=smoke]`.
"""

from dataclasses import replace

from harness.spec import Answer, Arm, Better, Equivalent, Study, ViTSpec
from studies import _recipes as r
from studies._looks import PositionsKnowLines

TABLE_8 = "arXiv 2010.11929, Table 8"
CONDITIONS = "ViT-B/16, pre-trained on JFT-300M, ImageNet 5-shot: one run each; the bound of one point is ours"

NEEDED = "Without position embedding accuracy is lower (.614 against .642)."
HOW = "A relative embedding is as good as a learned 1-D one (.640 and .642)."


ROTARY = Better(
    statement="Rotary positions beside a learned table are better than the table alone.",
    source="arXiv 2403.13298 (RoPE for vision), axial, with absolute positions",
    conditions="DeiT-III, ImageNet; most at larger test images",
    arm="learned 1-D and rotary",
    than="learned 1-D",
)


LINES = PositionsKnowLines(
    statement="Learned positions are more alike within a row or column than elsewhere.",
    source="arXiv 2010.11929, Fig. 7 (centre) and appendix D.4",
    conditions="ViT-L/32",
    arm="learned 1-D",
)


def _rotary(spec: ViTSpec) -> tuple[Arm, ...]:
    return (
        Arm("rotary", replace(spec, position="none", rotary=100.0), level="rotary"),
        Arm("learned 1-D and rotary", replace(spec, rotary=100.0), level="learned 1-D and rotary"),
    )


def _arms(spec: ViTSpec) -> tuple[Arm, ...]:
    return (
        Arm("none", replace(spec, position="none"), level="none"),
        Arm("learned 1-D", replace(spec, position="learned_1d"), level="learned 1-D"),
        Arm("learned 2-D", replace(spec, position="learned_2d"), level="learned 2-D"),
        Arm("sines 2-D", replace(spec, position="sincos_2d"), level="sines 2-D"),
        Arm("relative", replace(spec, position="relative"), level="relative"),
    )


VIT_B = ViTSpec.preset("B", patch_size=16, pool="cls")

STUDY = Study(
    question="Does a vision transformer need to know where its patches are, and does it matter how it is told?",
    source="arXiv 2010.11929, appendix D.4 and Table 8",
    factor="position_embedding",
    figure="accuracy_by_level",
    group="inside the ViT",
    answer=(
        Answer(claim=NEEDED, says="a learned table gives {more} than none"),
        Answer(claim=HOW, holds="How matters little", fails="How matters, too", says="relative positions give {more}"),
    ),
    scales={
        "smoke": replace(r.AT_SMOKE, arms=_arms(r.VIT_SMOKE), minutes=0.8),
        "laptop": replace(r.AT_LAPTOP, arms=_arms(r.VIT_XS), minutes=18),
        "gpu": replace(r.AT_GPU, arms=_arms(r.VIT_CIFAR) + _rotary(r.VIT_CIFAR), claims=(ROTARY, LINES), minutes=310),
        "paper": replace(r.AT_PAPER, arms=_arms(VIT_B) + _rotary(VIT_B), claims=(ROTARY, LINES)),
    },
    claims=(
        Better(
            statement=NEEDED,
            source=TABLE_8,
            conditions=CONDITIONS,
            arm="learned 1-D",
            than="none",
        ),
        Equivalent(
            statement="A learned 2-D embedding is as good as a learned 1-D one (.640 and .642).",
            source=TABLE_8,
            conditions=CONDITIONS,
            arm="learned 2-D",
            to="learned 1-D",
            within=0.01,
        ),
        Equivalent(
            statement=HOW,
            source=TABLE_8,
            conditions=CONDITIONS,
            arm="relative",
            to="learned 1-D",
            within=0.01,
        ),
    ),
    changes_after_first_look=r.at_laptop(r.RESNET_RATES_MOVED),
)
