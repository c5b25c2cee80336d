"""What does a larger image buy at a fixed patch size, and what does it cost?

Source: Dive into Deep Learning, section 11.8, exercise 1 (how does the image size affect the training time?), and arXiv
2010.11929, sections 3.1 and 3.2: the number of tokens grows with the square of the side, attention with its fourth
power. Images are resized from the source's own size; above it, pixels carry nothing new.

Expected: cost grows by four per doubling, attention by sixteen; accuracy rises from 14 to 28 pixels and hardly beyond.

Cost: smoke 40 s, laptop 19 min on 2 cores; `make study NAME=image_size [SCALE=smoke]`.
"""

from dataclasses import replace

from harness.spec import Arm, CostGrows, Monotone, Study, ViTSpec
from studies import _recipes as r

D2L = "Dive into Deep Learning, section 11.8, exercise 1"


def _arms(spec: ViTSpec, sizes: tuple[int, ...]) -> tuple[Arm, ...]:
    return tuple(Arm(f"{size} px", spec, level=size, changes={"data.image_size": size}) for size in sizes)


STUDY = Study(
    question="What does a larger image buy at a fixed patch size, and what does it cost?",
    source="Dive into Deep Learning, section 11.8, and arXiv 2010.11929, section 3",
    factor="image_size",
    scales={
        "smoke": replace(r.AT_SMOKE, arms=_arms(r.VIT_SMOKE, (4, 8, 16)), minutes=0.7),
        "laptop": replace(r.AT_LAPTOP, arms=_arms(r.VIT_XS, (14, 28, 56)), minutes=19),
        "gpu": replace(r.AT_GPU, arms=_arms(r.VIT_CIFAR, (16, 32, 64)), minutes=258),
        "paper": replace(r.AT_PAPER, arms=_arms(ViTSpec.preset("S", patch_size=16), (112, 224, 448))),
    },
    claims=(
        Monotone(
            statement="A higher resolution at the same patch size gives a higher accuracy.",
            source="arXiv 2010.11929, section 3.2 (fine-tuning at higher resolution)",
            conditions="fine-tuning at 384 px after pre-training at 224 px",
            metric="test_accuracy",
            along="image_size",
            direction="up",
        ),
        CostGrows(
            statement="The compute per image grows with the number of tokens: about fourfold per doubling of the side.",
            source=D2L,
            along="image_size",
            direction="up",
            factor=3.5,
        ),
        CostGrows(
            statement="The compute of attention grows with the square of the number of tokens.",
            source="arXiv 2010.11929, section 2 (quadratic cost in the number of pixels)",
            metric="attention_macs_per_image",
            along="image_size",
            direction="up",
            factor=15,
        ),
        CostGrows(
            kind="hypothesis",
            statement="The time per image grows with the side.",
            source=D2L,
            metric="train_images_per_second",
            along="image_size",
            direction="down",
            factor=2,
        ),
    ),
)
