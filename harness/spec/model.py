"""What a model is, as data: everything that `harness.models.build` needs besides the data's shape."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields, replace
from typing import Any, Literal, Self

from harness.spec.checks import AboveZero, Count, NotNegative, Positive, Probability, check_types, later
from harness.spec.errors import InvalidInput, require_choice, require_within
from harness.spec.functions import Function

Initialisation = Literal["truncated_normal", "xavier", "torch"]

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


class Architecture:
    """What all model families have; the defaults hold for most."""

    kind: str
    distillation_token: bool = False  # whether a part of it learns from a teacher alone
    place: str | None = None  # the user's file that builds it, if any

    def check_image(self, image_size: int) -> None:
        """Refuse an image side (pixels) that does not suit the model, where the specification tells."""

    def without_teacher(self) -> Self:
        """The same model as it learns from the labels alone."""
        return self

    def found_at(self, place: str) -> Self:
        """The same model, with its code in another file."""
        del place
        return self


@dataclass(frozen=True, kw_only=True)
class ViTSpec(Architecture):
    """A vision transformer (arXiv 2010.11929, section 3.1). Image size, channels and classes come with the data.

    The defaults are a small one that trains on small data: the mean of the patches, a xavier start and a head of zeros
    (as arXiv 2205.01580). `preset` makes the published models.
    """

    kind: Literal["vit"] = "vit"
    patch_size: Positive = 4
    """Side of a square patch, pixels of the image (also for the stems `conv` and `hybrid`: the total stride)."""
    width: Positive = 64
    depth: Positive = 4
    heads: Positive = 4
    """Size of a token's embedding (D in the paper), encoder blocks (L), heads of each, which divide `width`."""
    mlp_ratio: AboveZero = 4.0  # hidden width of a block's MLP, as a multiple of `width`
    pool: Literal["cls", "mean", "all", "map"] = "mean"
    """What the head reads: the class token, the mean of the patches (no class token then), or that of both (`all`); or
    what one learned query finds in the patches by attention, through an MLP (`map`, arXiv 2106.04560)."""
    pool_norm: Literal["before", "after"] = "before"
    """Whether the last LayerNorm acts on the tokens `before` pooling, or on the pooled vector, `after` it."""
    norm: Literal["pre", "post"] = "pre"
    """LayerNorm before each sublayer (with one more after the last block), or after each residual sum."""
    residual: Literal["full", "branch", "parallel"] = "full"
    """What a pre-norm MLP adds to: the `full` sum (equation 3), or attention's `branch`, a slip of tutorials. In
    `parallel` both stand side by side, after one norm (ViT-22B, arXiv 2302.05442)."""
    position: Literal["none", "learned_1d", "learned_2d", "sincos_2d", "relative"] = "learned_1d"
    """Position embedding (appendix D.4); `relative` is a learned bias per head and offset in the attention."""
    rotary: AboveZero | None = later(None)
    """Base of the frequencies at which queries and keys of patches turn, half of a head's width with the row, half with
    the column (axial RoPE, arXiv 2403.13298: 100), besides what `position` adds; None for none."""
    registers: Count = later(0)
    """Learned tokens beside the patches, without a position, which the head does not read (arXiv 2309.16588)."""
    qkv_bias: bool = True
    output_bias: bool = True
    """Whether the attention's projections have a bias: those to queries, keys and values, and that of the output."""
    mlp_bias: bool = later(True)
    norm_bias: bool = later(True)
    """Whether the maps of the MLPs and the LayerNorms have a bias; an RMSNorm has none."""
    norm_type: Literal["layer", "rms"] = later("layer")
    """LayerNorm, or RMSNorm (arXiv 1910.07467), which only scales: wherever the model normalises."""
    qk_norm: bool = later(False)
    """Whether queries and keys are normalised, head by head, before their product (ViT-22B, arXiv 2302.05442)."""
    mlp: Literal["gelu", "swiglu"] = later("gelu")
    """A block's MLP: two maps and GELU, or SwiGLU (arXiv 2002.05202): three maps of two thirds of the hidden width."""
    dropout: Probability = 0.0
    attention_dropout: Probability = 0.0
    mlp_dropout: Probability = 0.0
    projection_dropout: Probability = 0.0
    """Probability of dropping an element of the embedded tokens, attention weights, MLP layers, attention's output."""
    patch_dropout: Probability = later(0.0)
    """Share of an image's patches that training leaves out, others each time (arXiv 2208.07220, section 3)."""
    stochastic_depth: Probability = 0.0
    """Probability of skipping the last block's residual branches for an image; grows linearly from 0 over depth."""
    layer_scale: float | None = None
    """Initial value of the learned per-channel scale of each residual branch; None for no scale."""
    stem: Literal["patch", "conv", "hybrid"] = "patch"
    """How patches become tokens: one linear map, a stack of stride-2 convolutions, or a small ResNet."""
    flexible_patches: tuple[Positive, ...] = later(())
    """Sides of patches, pixels, of which each update draws one, all alike (FlexiViT, arXiv 2212.08013); their map and
    positions are resized from those of the largest and the most patches. Evaluation takes `patch_size`, and a confirm
    run is tested at all of them."""
    initialisation: Initialisation = "xavier"
    """Of linear maps: `truncated_normal` (sd .02), `xavier` (the paper's code), `torch` (torch.nn.Linear's default)."""
    attention_start: Literal["drawn", "mimetic", "impulse"] = later("drawn")
    """Of the attention's maps: `drawn` as all are; `mimetic` (arXiv 2305.09828), queries like keys, and positions that
    start as sines and cosines; `impulse` (arXiv 2505.19985), heads that look at a neighbour, found by its position.

    An impulse is seen through a patch's content only if positions are as large: `position_sd` of about 1, not 0.02."""
    position_sd: NotNegative = 0.02
    class_token_sd: NotNegative = 0.02
    """Standard deviations at the start, of the learned position table; of class and distillation token, registers."""
    zero_head: bool = True  # start with a head of zeros (the paper's code), so that the first predictions are uniform
    distillation_token: bool = False
    """A second token with a head of its own, which learns from a teacher (arXiv 2012.12877, section 4)."""
    head_hidden: Positive | None = None
    """Width of a tanh hidden layer in the head (the paper's pre-training head); None for a linear head."""
    norm_eps: AboveZero = 1e-6  # added to the variance in every LayerNorm, to the mean square in every RMSNorm

    def __post_init__(self) -> None:
        check_types(self)
        _check_heads(self.width, self.heads, "ViTSpec")
        for name, usual in (("pool_norm", "before"), ("residual", "full")):
            if self.norm == "post" and (value := getattr(self, name)) != usual:
                raise InvalidInput(f"ViTSpec.{name} is {value!r}; post-norm blocks have no choice: leave it {usual!r}.")
        if self.pool != "cls" and self.distillation_token:
            raise InvalidInput(f"ViTSpec.pool is {self.pool!r}; a distillation token needs a class token: pool 'cls'.")
        if self.stem != "patch" and not _is_stride(self.patch_size):
            told = f"with stem {self.stem!r}, which halves the image at each stage, it must be a power of two above 1."
            raise InvalidInput(f"ViTSpec.patch_size is {self.patch_size}; {told}")
        if self.position == "sincos_2d" and self.width % 4:
            raise InvalidInput(f"ViTSpec.width is {self.width}; position 'sincos_2d' needs a multiple of 4.")
        if self.rotary is not None and self.width // self.heads % 4:
            told = "rotary positions turn pairs of numbers by row and by column: heads must be a multiple of 4 wide."
            raise InvalidInput(f"ViTSpec.width is {self.width} with {self.heads} heads; {told}")
        if self.patch_dropout and self.position == "relative":
            told = "a relative position bias is of all patches: set patch_dropout to 0, or use another position."
            raise InvalidInput(f"ViTSpec.patch_dropout is {self.patch_dropout}; {told}")
        self._check_attention_start()
        self._check_flexible()

    def _check_flexible(self) -> None:
        if not self.flexible_patches:
            return
        flexible = f"ViTSpec.flexible_patches is {self.flexible_patches}"
        if self.patch_size not in self.flexible_patches:
            raise InvalidInput(f"{flexible}; patch_size, {self.patch_size}, must be one of them.")
        resized = {
            "stem": ("patch",),
            "position": ("none", "learned_1d"),
            "rotary": (None,),
            "attention_start": ("drawn",),
        }
        for name, valid in resized.items():
            if (value := getattr(self, name)) not in valid:
                told = f"only the linear map of patches and learned positions are resized: use one of {valid}"
                raise InvalidInput(f"{flexible} with {name} {value!r}; {told}.")

    def _check_attention_start(self) -> None:
        start = f"ViTSpec.attention_start is {self.attention_start!r}"
        if self.attention_start != "drawn" and self.position != "learned_1d":
            raise InvalidInput(f"{start}; it needs the table of position 'learned_1d', not {self.position!r}.")
        if self.attention_start == "mimetic" and self.width % 4:
            raise InvalidInput(f"{start}; its sines and cosines need a width of a multiple of 4, not {self.width}.")
        if self.attention_start == "impulse" and self.position_sd == 0:
            raise InvalidInput(f"{start}; positions must differ: position_sd must be above 0, best about 1.")

    @classmethod
    def preset(cls, size: str, *, patch_size: int, **changes: Any) -> "ViTSpec":
        """A published size (Ti, S, B, L, H) at any patch size, with its class token and start; `changes` as fields."""
        require_choice("ViT size", size, tuple(_PRESETS))
        return cls(**(_PRESETS[size] | _PUBLISHED | {"patch_size": patch_size} | changes))

    def check_image(self, image_size: int) -> None:
        for patch in (self.patch_size, *self.flexible_patches):
            _check_tiling(patch, image_size, _is_stride if self.stem != "patch" else bool)

    def without_teacher(self) -> "ViTSpec":
        return replace(self, distillation_token=False)


@dataclass(frozen=True, kw_only=True)
class ResNetSpec(Architecture):
    """A ResNet (arXiv 1512.03385): depths 8, 14, 20 are the CIFAR nets of section 4.2, 18, 34, 50 torchvision's."""

    kind: Literal["resnet"] = "resnet"
    depth: int = 8  # number of weighted layers: 8, 14, 20, 18, 34 or 50
    width: Positive | None = None
    """Channels of the first stage: 16 by default for depths 8, 14 and 20; the others are fixed at 64 (None)."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """`cifar`: one 3x3 convolution, stride 1, no pooling; `imagenet`: 7x7, stride 2, and max pooling."""

    def __post_init__(self) -> None:
        check_types(self)
        require_choice("ResNetSpec.depth", self.depth, SMALL_RESNET_DEPTHS + TORCHVISION_RESNET_DEPTHS)
        if self.depth in SMALL_RESNET_DEPTHS:
            require_choice(f"ResNetSpec.stem (of ResNet-{self.depth})", self.stem, ("cifar",))
            object.__setattr__(self, "width", self.width or 16)
        elif self.width is not None:
            told = f"ResNet-{self.depth} has a fixed width: leave it out, or use a depth of {SMALL_RESNET_DEPTHS}."
            raise InvalidInput(f"ResNetSpec.width is {self.width}; {told}")

    def check_image(self, image_size: int) -> None:
        smallest = 32 if self.stem == "imagenet" else 8 if self.depth in TORCHVISION_RESNET_DEPTHS else 4
        require_within(f"image_size (for ResNet-{self.depth}, stem {self.stem!r})", image_size, smallest)


@dataclass(frozen=True, kw_only=True)
class SwinSpec(Architecture):
    """A Swin transformer (arXiv 2103.14030) as torchvision has it: attention in shifted windows, in stages."""

    kind: Literal["swin"] = "swin"
    patch_size: Positive
    width: Positive
    """Width of the first stage; it doubles from stage to stage, where two by two tokens are merged into one."""
    depths: tuple[Positive, ...]
    heads: tuple[Positive, ...]  # blocks of each stage, and their attention heads, which divide that stage's width
    window: Positive = 7  # side of an attention window, tokens
    mlp_ratio: float = 4.0
    stochastic_depth: Probability = 0.0
    """Probability of skipping the last block's residual branches for an image; grows linearly from 0 over depth."""

    def __post_init__(self) -> None:
        check_types(self)
        if not len(self.depths) == len(self.heads) > 0:
            raise InvalidInput(f"SwinSpec has depths {self.depths}, heads {self.heads}; both need a number per stage.")
        for stage, heads in enumerate(self.heads):
            _check_heads(self.width << stage, heads, f"SwinSpec: stage {stage + 1}")
        if sum(self.depths) < 2:
            raise InvalidInput(f"SwinSpec.depths is {self.depths}; torchvision's Swin needs two blocks or more in all.")
        if int(self.width * self.mlp_ratio) < 1:
            raise InvalidInput(f"SwinSpec.mlp_ratio is {self.mlp_ratio}; set it to {1 / self.width:g} or more.")

    def check_image(self, image_size: int) -> None:
        _check_tiling(self.patch_size, image_size)


class Arguments(dict[str, Any]):
    """Keyword arguments that JSON can hold, with a hash; never changed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self, sort_keys=True))


@dataclass(frozen=True, kw_only=True)
class Module(Architecture):
    """A model of the user's own, as a function (or class) of the study file or of a module makes it.

    `build(image_size, channels, classes, **arguments)` returns a `torch.nn.Module` that takes images (B, channels,
    image_size, image_size), float32 and normalised, to logits (B, classes). It draws its weights from torch's global
    generator, and keeps in parameters and buffers what a resumed training needs.
    """

    kind: Literal["module"] = "module"
    build: Function | Callable[..., object]
    """Its source is part of a run's identity: see `harness.spec.functions.source_of`."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further keyword arguments of `build`: numbers, texts, booleans, None, and lists and dicts of these."""

    def __post_init__(self) -> None:
        if not isinstance(self.build, Function):
            object.__setattr__(self, "build", Function.of(self.build))
        _settle(self, ("image_size", "channels", "classes"))

    @property
    def function(self) -> Function:
        """What `build` is."""
        assert isinstance(self.build, Function)
        return self.build

    @property
    def place(self) -> str:  # type: ignore[override]
        return self.function.place

    def found_at(self, place: str) -> Self:
        return replace(self, build=replace(self.function, place=place))


@dataclass(frozen=True)
class Timm(Architecture):
    """A model of timm by its name there, with fresh weights. Needs the extra `timm`."""

    name: str
    _: KW_ONLY
    kind: Literal["timm"] = "timm"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `timm.create_model`; classes, channels and, where it takes one, image size are filled in."""

    def __post_init__(self) -> None:
        taken = ("img_size", "in_chans", "num_classes", "pretrained", "checkpoint_path", "scriptable", "exportable")
        _settle(self, taken)


@dataclass(frozen=True)
class Torchvision(Architecture):
    """A classification model of torchvision by its name there, with fresh weights."""

    name: str
    _: KW_ONLY
    kind: Literal["torchvision"] = "torchvision"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `torchvision.models.get_model`; classes and, where it takes one, image size are filled in,
    and for other than three channels the first convolution is replaced."""

    def __post_init__(self) -> None:
        _settle(self, ("image_size", "input_size", "num_classes", "weights", "weights_backbone", "progress"))


ModelSpec = ViTSpec | ResNetSpec | SwinSpec | Module | Timm | Torchvision
"""What `harness.models.build` accepts. `kind` is the family, which a search may have a space of its own for."""


_OF_THE_START = ("initialisation", "attention_start", "position_sd", "class_token_sd", "zero_head", "head_hidden")
_OF_THE_TRAINING = (
    *("dropout", "attention_dropout", "mlp_dropout", "projection_dropout", "patch_dropout", "stochastic_depth"),
)
"""Fields that decide no shape and no use of the weights below the head."""


def require_same_body(model: ModelSpec, other: ModelSpec) -> None:
    """Refuse a model that does not fit the weights of `other` below the head, or whose head is not known."""
    require_choice("start_from: the family of the model", model.kind, ("vit", "resnet", "swin"))
    if model.kind != other.kind:
        raise InvalidInput(f"start_from has a model of family {other.kind!r}; the arm's is {model.kind!r}. Give one.")
    names = [item.name for item in fields(model) if item.name not in _OF_THE_START + _OF_THE_TRAINING]
    for name in names:
        if (own := getattr(model, name)) != (found := getattr(other, name)):
            told = "weights fit the model that they were trained in. Make both the same."
            raise InvalidInput(f"start_from has a model with {name} {found!r}, the arm's has {own!r}; {told}")


def _settle(spec: Module | Timm | Torchvision, taken: tuple[str, ...]) -> None:
    """Check a specification, and make its arguments hashable; `taken` are not the user's to give."""
    check_types(spec)
    if given := sorted(spec.arguments.keys() & set(taken)):
        told = "image size, channels and classes come with the data, and weights are fresh. Leave it out."
        raise InvalidInput(f"{type(spec).__name__}.arguments has {', '.join(given)}; {told}")
    object.__setattr__(spec, "arguments", Arguments(_plain(spec.arguments)))


def _plain(value: Any) -> Any:
    """A value as JSON gives it back; `InvalidInput` for what JSON does not hold."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return value
    told = "it must be a finite number, a text, a boolean, None, or a list or dict (with texts as keys) of these."
    raise InvalidInput(f"The arguments of a model hold {value!r}; {told}")


def _check_divides(part: int, whole: int, told: str, suits: Callable[[int], bool] = bool) -> None:
    if whole % part:
        valid = [n for n in range(1, whole + 1) if whole % n == 0 and suits(n)]
        raise InvalidInput(f"{told} Valid: {valid}.")


def _check_heads(width: int, heads: int, place: str) -> None:
    _check_divides(heads, width, f"{place} is of width {width} with {heads} heads; heads must divide width.")


def _check_tiling(patch: int, image_size: int, suits: Callable[[int], bool] = bool) -> None:
    _check_divides(patch, image_size, f"patch_size {patch} does not divide image_size {image_size}.", suits)


def _is_stride(patch: int) -> bool:
    return patch > 1 and patch.bit_count() == 1
