"""Which is faster, the harness or a shell loop? Two arms, six seeds; a part of the bench runs it, 30 s on 2 cores."""

from harness.spec import Arm, Augmentation, DataSpec, Recipe, ResNetSpec, Scale, Search, Study, ViTSpec

RESNET = ResNetSpec(depth=8, width=16)
VIT = ViTSpec(patch_size=7, width=64, depth=4, heads=4, mlp_ratio=2.0, pool="mean")
PLAIN = Recipe(
    updates=100,
    batch_size=128,
    optimizer="adamw",
    learning_rate=1e-3,
    weight_decay=0.05,
    schedule="constant",
    warmup=0.0,
    clip_norm=None,
    evaluations=1,
    augmentation=Augmentation(shift=2, flip=True),
)
"""AdamW and nothing else that a plain loop has not: no clipping, no smoothing, a constant rate."""
LAPTOP = Scale(
    data=DataSpec(source="fashion_mnist", image_size=28, validation_size=1000),
    recipe=PLAIN,
    baseline=Arm("ResNet-8", RESNET),
    arms=(Arm("ViT/7", VIT),),
    seeds=tuple(range(6)),
    search=Search(trials=0),
)
STUDY = Study(question="Which is faster?", source="the bench", factor="model", scales={"laptop": LAPTOP})
