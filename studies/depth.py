"""Does a deeper vision transformer do better, and what does it cost?

Source: arXiv 2010.11929, appendix D.2 and Fig. 8: around a model of 8 layers, of all dimensions depth helps most: gains
are visible up to 64 layers, and diminish after 16.

Expected: accuracy rises from 1 to 4 blocks; within a laptop's updates the deepest model need not be the best, and the
steps between deep models may stay open.

Cost: smoke 40 s, laptop 19 min on 2 cores; `make study NAME=depth [SCALE=smoke]`.
"""

from dataclasses import replace

from harness.spec import Answer, Arm, CostGrows, Monotone, Scale, Study, ViTSpec
from harness.spec.formats import counted
from studies import _recipes as r
from studies._looks import AttentionWidens


def _looked_into(scale: Scale) -> Scale:
    claim = AttentionWidens(
        statement="Heads attend farther the deeper their block.",
        source="arXiv 2010.11929, Fig. 7 (right) and Fig. 11",
        conditions="ViT-L/16",
        arm=scale.arms[-1].name,
    )
    return replace(scale, claims=(claim,))


def _scale(base: Scale, spec: ViTSpec, depths: tuple[int, ...], minutes: float | None = None) -> Scale:
    arms = tuple(Arm(counted(depth, "block"), replace(spec, depth=depth), level=depth) for depth in depths)
    few, many = arms[0].name, arms[-1].name
    answer = Answer(arm=many, than=few, says=f"{many} instead of {few} give {{more}}, for {{cost}} the compute")
    return replace(base, arms=arms, answer=(answer,), minutes=minutes)


STUDY = Study(
    question="Does a deeper vision transformer do better, and what does it cost?",
    source="arXiv 2010.11929, Fig. 8",
    factor="depth",
    figure="accuracy_by_level",
    group="inside the ViT",
    scales={
        "smoke": _scale(r.AT_SMOKE, r.VIT_SMOKE, (1, 2, 4), 0.7),
        "laptop": _scale(r.AT_LAPTOP, r.VIT_XS, (1, 2, 4, 8, 12), 19),
        "gpu": _looked_into(_scale(r.AT_GPU, r.VIT_CIFAR, (3, 6, 9, 12), 194)),
        "paper": _looked_into(_scale(r.AT_PAPER, ViTSpec.preset("S", patch_size=16), (6, 12, 24))),
    },
    claims=(
        Monotone(
            statement="Accuracy rises with depth.",
            source="arXiv 2010.11929, Fig. 8 (depth)",
            conditions="width 1024, patch 32, pre-trained on JFT-300M, ImageNet 5-shot; diminishing after 16 layers",
            metric="test_accuracy",
            along="depth",
            direction="up",
        ),
        CostGrows(
            statement="The compute per image grows with depth.",
            source="arXiv 2010.11929, section 3.1: the encoder is a stack of equal blocks",
            along="depth",
            direction="up",
            factor=1.3,
        ),
    ),
    changes_after_first_look=r.at_laptop(
        r.RESNET_RATES_MOVED,
        "The statement about compute said 'close to proportionally', which its factor of 1.3 does not test.",
    ),
)
