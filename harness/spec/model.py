"""What a model is, as data: everything that `harness.models.build` needs besides the data's shape."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.spec.architecture import Architecture
from harness.spec.checks import check_types
from harness.spec.errors import InvalidInput, require, require_choice, require_within
from harness.spec.foreign_models import Module, Timm, Torchvision

Pool = Literal["cls", "mean", "all"]
PoolNorm = Literal["before", "after"]
Residual = Literal["full", "branch"]
Norm = Literal["pre", "post"]
Position = Literal["none", "learned_1d", "learned_2d", "sincos_2d", "relative"]
Stem = Literal["patch", "conv", "hybrid"]
Initialisation = Literal["truncated_normal", "xavier", "torch"]
ResNetStem = Literal["cifar", "imagenet"]

# Table 1 of arXiv 2010.11929; Ti and S as in arXiv 2012.12877 (DeiT).
_PRESETS: dict[str, dict[str, int]] = {
    "Ti": {"width": 192, "depth": 12, "heads": 3},
    "S": {"width": 384, "depth": 12, "heads": 6},
    "B": {"width": 768, "depth": 12, "heads": 12},
    "L": {"width": 1024, "depth": 24, "heads": 16},
    "H": {"width": 1280, "depth": 32, "heads": 16},
}

_PUBLISHED: dict[str, Any] = {"pool": "cls", "initialisation": "truncated_normal", "zero_head": False}
"""What the named sizes have where the defaults of `ViTSpec` are what small data learns from."""

SMALL_RESNET_DEPTHS = (8, 14, 20)
TORCHVISION_RESNET_DEPTHS = (18, 34, 50)


@dataclass(frozen=True, kw_only=True)
class ViTSpec(Architecture):
    """A vision transformer (arXiv 2010.11929, section 3.1). Image size, channels and classes come with the data.

    The defaults are a small one that trains on small data: the mean of the patches, a xavier start and a head of zeros
    (as arXiv 2205.01580). `preset` makes the published models.
    """

    kind: Literal["vit"] = "vit"
    patch_size: int = 4
    """Side of a square patch, pixels of the image (also for the stems `conv` and `hybrid`: the total stride)."""
    width: int = 64
    """Size of a token's embedding (D in the paper)."""
    depth: int = 4
    """Number of encoder blocks (L)."""
    heads: int = 4
    """Attention heads per block; divides `width`."""
    mlp_ratio: float = 4.0
    """Hidden width of a block's MLP, as a multiple of `width`."""
    pool: Pool = "mean"
    """What the head reads: the class token; the mean over the patch tokens (then there is no class token); or the mean
    over `all` tokens, a class token included."""
    pool_norm: PoolNorm = "before"
    """Whether the last LayerNorm acts on the tokens `before` pooling, or on the pooled vector, `after` it."""
    norm: Norm = "pre"
    """LayerNorm before each sublayer (with one more after the last block), or after each residual sum."""
    residual: Residual = "full"
    """What a pre-norm block's MLP adds to: the `full` sum y + x of input x and attention's branch y (equation 3), or
    the `branch` y alone, a slip found in tutorials: mlp(norm(y + x)) + y."""
    position: Position = "learned_1d"
    """Position embedding (appendix D.4); `relative` is a learned bias per head and offset in the attention."""
    qkv_bias: bool = True
    """Whether the projections to queries, keys and values have a bias."""
    output_bias: bool = True
    """Whether the attention's output projection has a bias."""
    dropout: float = 0.0
    """Probability of dropping an element of the embedded tokens."""
    attention_dropout: float = 0.0
    """Probability of dropping an attention weight."""
    mlp_dropout: float = 0.0
    """Probability of dropping an element after each linear layer of the MLP."""
    projection_dropout: float = 0.0
    """Probability of dropping an element of the attention's output."""
    stochastic_depth: float = 0.0
    """Probability of skipping the last block's residual branches for an image; grows linearly from 0 over depth."""
    layer_scale: float | None = None
    """Initial value of the learned per-channel scale of each residual branch; None for no scale."""
    stem: Stem = "patch"
    """How patches become tokens: one linear map, a stack of stride-2 convolutions, or a small ResNet."""
    initialisation: Initialisation = "xavier"
    """Of linear maps: `truncated_normal` (sd .02), `xavier` (the paper's code), `torch` (torch.nn.Linear's default)."""
    position_sd: float = 0.02
    """Standard deviation of the learned position table at the start; 0 for zeros."""
    class_token_sd: float = 0.02
    """Standard deviation of the class token (and a distillation token) at the start; 0 for zeros."""
    zero_head: bool = True
    """Start with a head of zeros (the paper's code), so that the first predictions are uniform."""
    distillation_token: bool = False
    """A second token with a head of its own, which learns from a teacher (arXiv 2012.12877, section 4)."""
    head_hidden: int | None = None
    """Width of a tanh hidden layer in the head (the paper's pre-training head); None for a linear head."""
    norm_eps: float = 1e-6
    """Added to the variance in every LayerNorm."""

    def __post_init__(self) -> None:
        check_types(self)
        for field in ("patch_size", "width", "depth", "heads"):
            require_within(f"ViTSpec.{field}", getattr(self, field), 1)
        require(
            self.width % self.heads == 0,
            f"ViTSpec.width is {self.width} and heads is {self.heads}; heads must divide width. "
            f"Valid for this width: {_divisors(self.width)}.",
        )
        require_within("ViTSpec.mlp_ratio", self.mlp_ratio, 0, open_low=True)
        for field in ("dropout", "attention_dropout", "mlp_dropout", "projection_dropout", "stochastic_depth"):
            require_within(f"ViTSpec.{field}", getattr(self, field), 0, 0.999)
        require_within("ViTSpec.norm_eps", self.norm_eps, 0, open_low=True)
        require_within("ViTSpec.position_sd", self.position_sd, 0)
        require_within("ViTSpec.class_token_sd", self.class_token_sd, 0)
        for field, usual in (("pool_norm", "before"), ("residual", "full")):
            require(
                self.norm == "pre" or getattr(self, field) == usual,
                f"ViTSpec.{field} is {getattr(self, field)!r} with norm 'post'; only pre-norm blocks have that choice. "
                f"Leave {field} at {usual!r}.",
            )
        require(
            self.pool == "cls" or not self.distillation_token,
            f"ViTSpec.distillation_token is set with pool {self.pool!r}; it needs a class token beside it: pool 'cls'.",
        )
        if self.head_hidden is not None:
            require_within("ViTSpec.head_hidden", self.head_hidden, 1)
        if self.stem != "patch":
            require(
                self.patch_size & (self.patch_size - 1) == 0 and self.patch_size > 1,
                f"ViTSpec.patch_size is {self.patch_size}; with stem {self.stem!r} it must be a power of two above 1, "
                "because the stem halves the image at each stage.",
            )
        if self.position == "sincos_2d":
            require(
                self.width % 4 == 0,
                f"ViTSpec.width is {self.width}; position 'sincos_2d' needs a multiple of 4 "
                "(sine and cosine for each of two axes).",
            )

    @classmethod
    def preset(cls, size: str, *, patch_size: int, **changes: Any) -> "ViTSpec":
        """A published size (Ti, S, B, L, H) at any patch size: class token, start from a normal distribution of sd .02.

        `changes` replace further fields.
        """
        if size not in _PRESETS:
            raise InvalidInput(f"ViT size {size!r} is not known; valid sizes: {', '.join(_PRESETS)}.")
        return cls(**(_PRESETS[size] | _PUBLISHED | {"patch_size": patch_size} | changes))

    def check_image(self, image_size: int) -> None:
        """Refuse an image side (pixels) that the patches do not tile."""
        if image_size % self.patch_size:
            valid = [p for p in _divisors(image_size) if self.stem == "patch" or (p & (p - 1) == 0 and p > 1)]
            raise InvalidInput(
                f"patch_size {self.patch_size} does not divide image_size {image_size}; "
                f"valid patch sizes for this image: {valid}."
            )

    def batch_norm_side(self, image_size: int) -> int | None:
        """Side of the smallest feature map that BatchNorm normalises; None where there is no BatchNorm."""
        return None if self.stem == "patch" else image_size // self.patch_size

    @property
    def needs_teacher(self) -> bool:
        """Whether it has a distillation token."""
        return self.distillation_token

    def without_teacher(self) -> "ViTSpec":
        """The same model without a distillation token."""
        return replace(self, distillation_token=False)


@dataclass(frozen=True, kw_only=True)
class ResNetSpec(Architecture):
    """A ResNet (arXiv 1512.03385): depths 8, 14, 20 are the CIFAR nets of section 4.2, 18, 34, 50 torchvision's."""

    kind: Literal["resnet"] = "resnet"
    depth: int = 8
    """Number of weighted layers: 8, 14, 20, 18, 34 or 50."""
    width: int | None = None
    """Channels of the first stage: 16 by default for depths 8, 14 and 20; the others are fixed at 64 (None)."""
    stem: ResNetStem = "cifar"
    """`cifar`: one 3x3 convolution, stride 1, no pooling; `imagenet`: 7x7, stride 2, and max pooling."""

    def __post_init__(self) -> None:
        check_types(self)
        require_choice("ResNetSpec.depth", self.depth, SMALL_RESNET_DEPTHS + TORCHVISION_RESNET_DEPTHS)
        if self.depth in SMALL_RESNET_DEPTHS:
            require(
                self.stem == "cifar",
                f"ResNetSpec.stem is {self.stem!r}; ResNet-{self.depth} is a CIFAR net and has the stem 'cifar' only.",
            )
            if self.width is None:
                object.__setattr__(self, "width", 16)
            assert self.width is not None
            require_within("ResNetSpec.width", self.width, 1)
        else:
            require(
                self.width is None,
                f"ResNetSpec.width is {self.width}; ResNet-{self.depth} is torchvision's and has a fixed width: "
                f"leave it out, or use a depth of {SMALL_RESNET_DEPTHS}.",
            )

    def check_image(self, image_size: int) -> None:
        """Refuse an image side (pixels) that the network's strides reduce to nothing."""
        smallest = 32 if self.stem == "imagenet" else 8 if self.depth in TORCHVISION_RESNET_DEPTHS else 4
        require_within(f"image_size (for ResNet-{self.depth}, stem {self.stem!r})", image_size, smallest)

    def batch_norm_side(self, image_size: int) -> int | None:
        """Side of the smallest feature map, pixels: BatchNorm normalises every one."""
        stride = 32 if self.stem == "imagenet" else 8 if self.depth in TORCHVISION_RESNET_DEPTHS else 4
        return -(-image_size // stride)


@dataclass(frozen=True, kw_only=True)
class SwinSpec(Architecture):
    """A Swin transformer (arXiv 2103.14030) as torchvision has it: attention in shifted windows, in stages."""

    kind: Literal["swin"] = "swin"
    patch_size: int
    """Side of a square patch, pixels."""
    width: int
    """Width of the first stage; it doubles from stage to stage."""
    depths: tuple[int, ...]
    """Blocks of each stage; between stages two by two tokens are merged into one."""
    heads: tuple[int, ...]
    """Attention heads of each stage; divides that stage's width."""
    window: int = 7
    """Side of an attention window, tokens."""
    mlp_ratio: float = 4.0
    """Hidden width of a block's MLP, as a multiple of the stage's width."""
    stochastic_depth: float = 0.0
    """Probability of skipping the last block's residual branches for an image; grows linearly from 0 over depth."""

    def __post_init__(self) -> None:
        check_types(self)
        for field in ("patch_size", "width", "window"):
            require_within(f"SwinSpec.{field}", getattr(self, field), 1)
        require(
            len(self.depths) == len(self.heads) > 0,
            f"SwinSpec.depths is {self.depths} and heads is {self.heads}; both need a number per stage.",
        )
        for stage, (depth, heads) in enumerate(zip(self.depths, self.heads, strict=True)):
            require_within("SwinSpec.depths: blocks of a stage", depth, 1)
            require_within("SwinSpec.heads: heads of a stage", heads, 1)
            width = self.width << stage
            require(
                width % heads == 0,
                f"SwinSpec.heads is {heads} in stage {stage + 1} of width {width}; heads must divide the width. "
                f"Valid for this width: {_divisors(width)}.",
            )
        require(
            sum(self.depths) > 1,
            f"SwinSpec.depths is {self.depths}; torchvision's Swin needs at least two blocks in all.",
        )
        require(
            int(self.width * self.mlp_ratio) > 0,
            f"SwinSpec.mlp_ratio is {self.mlp_ratio} and width is {self.width}; the MLP's hidden width, their product, "
            f"must be at least 1. Set mlp_ratio above {1 / self.width:g}.",
        )
        require_within("SwinSpec.stochastic_depth", self.stochastic_depth, 0, 0.999)

    def check_image(self, image_size: int) -> None:
        """Refuse an image side (pixels) that the patches do not tile."""
        require(
            image_size % self.patch_size == 0,
            f"patch_size {self.patch_size} does not divide image_size {image_size}; "
            f"valid patch sizes for this image: {_divisors(image_size)}.",
        )


ModelSpec = ViTSpec | ResNetSpec | SwinSpec | Module | Timm | Torchvision
"""What `harness.models.build` accepts. `kind` is the family, which a search may have a space of its own for."""


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]
