"""What the studies share: models, data, recipes and search spaces at each scale.

The learning rates and weight decays here are where every search starts (trial 0 of every arm), not what is reported.
"""

from harness.spec import Augmentation, Choice, DataSpec, LogUniform, Recipe, ResNetSpec, Search, Space, ViTSpec

# --- smoke: scikit-learn's digits, 8 px; shows that everything works, not what is true -------------------------------
DIGITS = DataSpec(source="digits")
SMOKE = Recipe(
    updates=150, batch_size=64, optimizer="muon", learning_rate=1e-2, evaluations=5, augmentation=Augmentation(shift=1)
)
VIT_SMOKE = ViTSpec(patch_size=2, width=32, depth=2, heads=2, pool="mean", initialisation="xavier", zero_head=True)
RESNET_SMOKE = ResNetSpec(depth=8, width=8)

# --- laptop: Fashion-MNIST, 28 px, on two CPU cores ------------------------------------------------------------------
FASHION_MNIST = DataSpec(source="fashion_mnist")
LAPTOP = Recipe(
    updates=1000,
    batch_size=128,
    optimizer="muon",
    learning_rate=2e-2,
    weight_decay=0.05,
    evaluations=5,
    augmentation=Augmentation(shift=2, flip=True, strength=0.5),
)
VIT_XS = ViTSpec(patch_size=7, width=64, depth=4, heads=4, pool="mean")
RESNET8 = ResNetSpec(depth=8)

# --- gpu: CIFAR-10 and CIFAR-100, 32 px ------------------------------------------------------------------------------
CIFAR10 = DataSpec(source="cifar10")
GPU = Recipe(
    epochs=100,
    batch_size=256,
    learning_rate=1e-3,
    weight_decay=0.05,
    label_smoothing=0.1,
    evaluations=20,
    augmentation=Augmentation(shift=4, flip=True, erase=0.25),
)
VIT_CIFAR = ViTSpec(patch_size=4, width=256, depth=6, heads=4, mlp_ratio=2.0, pool="mean")
RESNET18 = ResNetSpec(depth=18)

# --- paper: ImageNet, 224 px, the training of Table 3 (arXiv 2010.11929) ---------------------------------------------
IMAGENET = DataSpec(source="imagenet")
PAPER = Recipe(
    epochs=300,
    batch_size=4096,
    accumulate=8,
    optimizer="adamw",
    learning_rate=3e-3,
    weight_decay=0.3,
    warmup=0.11,  # 10,000 of about 94,000 updates
    clip_norm=1.0,
    evaluations=30,
    augmentation=Augmentation(flip=True),
)
RESNET50 = ResNetSpec(depth=50, stem="imagenet")

NUISANCES: Space = {
    "learning_rate": LogUniform(low=1e-3, high=1e-1),
    "weight_decay": LogUniform(low=1e-3, high=1.0),
    "augmentation.strength": Choice(values=(0.0, 0.5, 1.0)),
}
"""What is tuned for every arm alike, with Muon. How much augmentation helps depends on the data size."""

ADAMW_NUISANCES: Space = {**NUISANCES, "learning_rate": LogUniform(low=1e-4, high=1e-2)}

SMOKE_SEARCH = Search(space=NUISANCES, trials=2, updates=60)
LAPTOP_SEARCH = Search(space=NUISANCES, trials=8, updates=500)
GPU_SEARCH = Search(space=ADAMW_NUISANCES, trials=16, updates=6000)
PAPER_SEARCH = Search(space=ADAMW_NUISANCES, trials=8, updates=30_000)

FIVE_SEEDS = (0, 1, 2, 3, 4)
"""With three the intervals are more than twice as wide (Student's t)."""
