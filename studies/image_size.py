"""What does a larger image buy at a fixed patch size, and what does it cost?

Source: Dive into Deep Learning, section 11.8, exercise 1 (how does the image size affect the training time?), and arXiv
2010.11929, sections 3.1 and 3.2: the number of tokens grows with the square of the side, attention with its fourth
power. Images are resized from the source's own size; above it, pixels carry nothing new.

Expected: cost grows by four per doubling, attention by sixteen; accuracy rises from 14 to 28 pixels and hardly beyond.

Cost: smoke 40 s, laptop 15 min on 2 cores; `make study NAME=image_size [SCALE=smoke]`.
"""

from dataclasses import replace

from harness.spec import Answer, Arm, CostGrows, Monotone, Scale, Study, ViTSpec
from studies import _recipes as r

D2L = "Dive into Deep Learning, section 11.8, exercise 1"


def _scale(base: Scale, spec: ViTSpec, sizes: tuple[int, ...], minutes: float | None = None) -> Scale:
    arms = tuple(Arm(f"{size} px", spec, level=size, changes={"data.image_size": size}) for size in sizes)
    small, large = arms[0].name, arms[-1].name
    answer = Answer(arm=large, than=small, says=f"{large} instead of {small} gives {{more}}, for {{cost}} the compute")
    return replace(base, arms=arms, answer=(answer,), minutes=minutes)


STUDY = Study(
    question="What does a larger image buy at a fixed patch size, and what does it cost?",
    source="Dive into Deep Learning, section 11.8, and arXiv 2010.11929, section 3",
    factor="image_size",
    unit="px",
    figure="accuracy_by_level",
    group="inside the ViT",
    scales={
        "smoke": _scale(r.AT_SMOKE, r.VIT_SMOKE, (4, 8, 16), 0.7),
        "laptop": _scale(r.AT_LAPTOP, r.VIT_XS, (14, 28, 56), 15),
        "gpu": _scale(r.AT_GPU, r.VIT_CIFAR, (16, 32, 64), 258),
        "paper": _scale(r.AT_PAPER, ViTSpec.preset("S", patch_size=16), (112, 224, 448)),
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
