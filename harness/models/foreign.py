"""Models of others: what a user's function makes, and what timm and torchvision have by name."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any
from weakref import WeakSet

from torch import Tensor, nn

from harness.models.family import Family
from harness.spec import InvalidInput, Module, Timm, Torchvision
from harness.spec.checks import did_you_mean
from harness.spec.errors import require

_MADE = WeakSet[nn.Module]()


def _build_module(spec: Module, *, image_size: int, channels: int, classes: int) -> nn.Module:
    build = spec.function.find()
    model = build(image_size=image_size, channels=channels, classes=classes, **deepcopy(spec.arguments))
    return _checked(model, spec.function.name, classes)


def _build_timm(spec: Timm, *, image_size: int, channels: int, classes: int) -> nn.Module:
    try:
        import timm
    except ImportError:
        raise InvalidInput("timm is not installed; Timm(...) needs it: pip install 'patchbench[timm]'.") from None
    _require_name("timm", spec.name, timm.list_models())
    create = partial(timm.create_model, spec.name, in_chans=channels, num_classes=classes)
    return _checked(_sized(create, spec.arguments, img_size=image_size), f"timm's {spec.name}", classes)


def _build_torchvision(spec: Torchvision, *, image_size: int, channels: int, classes: int) -> nn.Module:
    from torchvision import models

    _require_name("torchvision", spec.name, models.list_models(module=models))
    create = partial(models.get_model, spec.name, weights=None, num_classes=classes)
    model = _sized(create, spec.arguments, image_size=image_size, input_size=(image_size, image_size))
    if channels != 3:
        _replace_first_convolution(model, spec.name, channels)
    return _checked(model, f"torchvision's {spec.name}", classes)


def _require_name(library: str, name: str, known: list[str]) -> None:
    bare = name.partition(".")[0]  # of timm's names, what follows a point is which weights
    others = did_you_mean(bare, known) or f"It has {len(known)}, such as {', '.join(known[:3])}."
    require(bare in known, f"{library} has no model {name!r}. {others}")


def _sized(create: Callable[..., nn.Module], arguments: Mapping[str, Any], **sizes: Any) -> nn.Module:
    """What `create` makes with the first of the arguments for the image's side that it knows, else without."""
    for name, size in sizes.items():
        try:
            return create(**deepcopy(arguments), **{name: size})
        except TypeError as error:
            if f"unexpected keyword argument {name!r}" not in str(error):
                raise
    return create(**deepcopy(arguments))


def _replace_first_convolution(model: nn.Module, name: str, channels: int) -> None:
    """Let a model for three channels take another number of them; the new kernels start as torch's convolutions do."""
    at, first = next(((at, part) for at, part in model.named_modules() if isinstance(part, nn.Conv2d)), ("", None))
    if first is None or first.in_channels != 3 or first.groups != 1:
        raise InvalidInput(
            f"The images have {channels} channels, and torchvision's {name} does not begin with a convolution of 3. "
            "Build the model by a function of your own, Module(build=...), or set data.channels to 3."
        )
    parent, _, leaf = at.rpartition(".")
    same = ("out_channels", "kernel_size", "stride", "padding", "dilation", "padding_mode")
    new = nn.Conv2d(channels, bias=first.bias is not None, **{key: getattr(first, key) for key in same})
    setattr(model.get_submodule(parent), leaf, new)


def _checked(model: object, what: str, classes: int) -> nn.Module:
    """A model that can be trained and kept, and that checks the shape of its logits at every pass."""
    if not isinstance(model, nn.Module):
        raise InvalidInput(f"{what} returned {type(model).__name__}; it must return a torch.nn.Module.")
    require(model not in _MADE, f"{what} returned a model that it has returned before; make a new one at each call.")
    _MADE.add(model)
    is_trained = any(parameter.requires_grad for parameter in model.parameters())
    require(is_trained, f"{what} returned a model without a parameter to train (requires_grad).")
    for name, value in model.state_dict().items():
        is_real = isinstance(value, Tensor) and not value.is_complex()
        require(is_real, f"{what} returned a model whose state has {name}, which is no tensor of real numbers.")
    model.register_forward_hook(partial(_check_logits, what, classes))
    return model


def _check_logits(what: str, classes: int, _: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
    expected = (len(inputs[0]), classes)
    found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if found != expected:
        raise InvalidInput(
            f"{what} made {found} of images of shape {tuple(inputs[0].shape)}; it must make logits of shape {expected}."
        )


MODULE = Family(spec=Module, build=_build_module)
TIMM = Family(spec=Timm, build=_build_timm)
TORCHVISION = Family(spec=Torchvision, build=_build_torchvision)
