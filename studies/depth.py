"""Does a deeper vision transformer do better, and where does depth stop paying?

Source: arXiv 2010.11929, appendix D.2 and Fig. 8: around a model of 8 layers, depth helps most of all dimensions: gains
are visible up to 64 layers, and diminish after 16.

Expected: accuracy rises from 1 to 4 blocks; within a laptop's updates the deepest model need not be the best, and the
steps between deep models may stay open.

Cost: smoke 40 s, laptop 25 min on 2 cores; `make study NAME=depth [SCALE=smoke]`.
"""

from dataclasses import replace

from harness.spec import Arm, CostGrows, Monotone, Study, ViTSpec
from studies import _recipes as r


def _vits(spec: ViTSpec, depths: tuple[int, ...]) -> tuple[Arm, ...]:
    return tuple(
        Arm(f"{depth} blocks" if depth > 1 else "1 block", replace(spec, depth=depth), level=depth) for depth in depths
    )


STUDY = Study(
    question="Does a deeper vision transformer do better, and where does depth stop paying?",
    source="arXiv 2010.11929, Fig. 8",
    factor="depth",
    scales={
        "smoke": replace(r.AT_SMOKE, arms=_vits(r.VIT_SMOKE, (1, 2, 4)), minutes=0.7),
        "laptop": replace(r.AT_LAPTOP, arms=_vits(r.VIT_XS, (1, 2, 4, 8, 12)), minutes=25),
        "gpu": replace(r.AT_GPU, arms=_vits(r.VIT_CIFAR, (3, 6, 9, 12)), minutes=194),
        "paper": replace(r.AT_PAPER, arms=_vits(ViTSpec.preset("S", patch_size=16), (6, 12, 24))),
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
