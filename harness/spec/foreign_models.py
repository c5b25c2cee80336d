"""Models that are not the harness' own: a user's function, and those of timm and torchvision by name."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Literal, Self

from harness.spec.architecture import Architecture
from harness.spec.checks import check_types
from harness.spec.errors import InvalidInput, require
from harness.spec.functions import Function


class Arguments(dict[str, Any]):
    """Keyword arguments that JSON can hold; never changed, and hashed as all of a specification is."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(json.dumps(self, sort_keys=True))


@dataclass(frozen=True, kw_only=True)
class Module(Architecture):
    """A model of the user's own, as a function (or class) of the study file or of a module makes it.

    `build(image_size, channels, classes, **arguments)` returns a `torch.nn.Module` that takes images (B, channels,
    image_size, image_size), float32 and normalised, to logits (B, classes). It is called in the process that trains,
    draws its weights from torch's global generator, and keeps in parameters and buffers what a resumed training needs.
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
    def place(self) -> str:
        """The file that `build` is defined in."""
        return self.function.place

    def found_at(self, place: str) -> Self:
        """The same model, with `build` in another file."""
        return replace(self, build=replace(self.function, place=place))


@dataclass(frozen=True)
class Timm(Architecture):
    """A model of timm by its name there, with fresh weights. Needs the extra `timm`."""

    name: str
    _: KW_ONLY
    kind: Literal["timm"] = "timm"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of `timm.create_model`; number of classes, channels and, where the model takes it, the image's
    side are filled in."""

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
    """Further arguments of `torchvision.models.get_model`; the number of classes and, where the model takes it, the
    image's side are filled in, and for other than three channels the first convolution is replaced."""

    def __post_init__(self) -> None:
        _settle(self, ("image_size", "input_size", "num_classes", "weights", "weights_backbone", "progress"))


def _settle(spec: Module | Timm | Torchvision, taken: tuple[str, ...]) -> None:
    """Check a specification, and make its arguments hashable; `taken` are not the user's to give."""
    check_types(spec)
    given = sorted(spec.arguments.keys() & set(taken))
    require(
        not given,
        f"{type(spec).__name__}.arguments has {', '.join(given)}; image size, channels and classes come with the data, "
        "and every training starts from fresh weights. Leave it out.",
    )
    plain = [_plain(name, {name: value}) for name, value in spec.arguments.items()]
    object.__setattr__(spec, "arguments", Arguments(item for one in plain for item in one.items()))


def _plain(name: object, value: Any) -> Any:
    """A value as JSON gives it back; `InvalidInput` for what JSON does not hold."""
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(name, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    if value is None or type(value) in (bool, int, str) or (type(value) is float and math.isfinite(value)):
        return value
    raise InvalidInput(
        f"Argument {name!r} is, or holds, {value!r}; an argument must be a finite number, a text, a boolean, None, or "
        "a list or dict (with texts as keys) of these: it is kept as JSON and is part of a run's identity."
    )
