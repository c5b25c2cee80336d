"""Checks that the constructors of the specifications share, and fields by their dotted names."""

import dataclasses
import difflib
import math
import types
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from harness.spec.errors import InvalidInput, require_within

T = TypeVar("T")

NEUTRAL = "neutral"
"""Key of a field's metadata: the value with which the field is left out of what is kept and hashed."""
UNKEPT = "unkept"  # key of a field's metadata: the field is left out of what is kept and hashed, whatever its value


@dataclasses.dataclass(frozen=True)
class Within:
    """Limits of a field's numbers, as an annotation of its type: [low, high], or (low, high]."""

    low: float
    high: float = math.inf
    open_low: bool = False


Count = Annotated[int, Within(0)]
Positive = Annotated[int, Within(1)]
NotNegative = Annotated[float, Within(0)]
AboveZero = Annotated[float, Within(0, open_low=True)]
Share = Annotated[float, Within(0, 1)]
Probability = Annotated[float, Within(0, 0.999)]
"""Of what must not happen always: dropping, smoothing."""


def later(neutral: T) -> T:
    """A field of later date, left out of digests where it is `neutral`, which means what was before it."""
    return dataclasses.field(default=neutral, metadata={NEUTRAL: neutral})


@cache
def _fields(cls: type) -> dict[str, tuple[Any, Within | None]]:
    """The resolved type of each field of a dataclass, and its limits."""
    types_, annotated = get_type_hints(cls), get_type_hints(cls, include_extras=True)
    names = [field.name for field in dataclasses.fields(cls)]
    return {name: (types_[name], _limits_in(annotated[name])) for name in names}


def field_types(cls: type) -> dict[str, Any]:
    """The resolved type of each field of a dataclass."""
    return {name: hint for name, (hint, _) in _fields(cls).items()}


def _limits_in(hint: Any) -> Within | None:
    if get_origin(hint) is Annotated:
        return next(part for part in get_args(hint) if isinstance(part, Within))
    return next(filter(None, map(_limits_in, get_args(hint))), None)


def check_types(spec: Any) -> None:
    """Refuse values outside their field's type and limits, NaN, infinity; an int where a float is due becomes one."""
    cls: type = type(spec)
    place = getattr(spec, "_key", cls.__name__)
    for name, (hint, limits) in _fields(cls).items():
        value = getattr(spec, name)
        if not _accepts(hint, value):
            if type(value) is not int or not _accepts(hint, float(value)):
                kind = type(value).__name__
                raise InvalidInput(f"{place}.{name} is {value!r} ({kind}); it must be {describe(hint)}.")
            value = float(value)
            object.__setattr__(spec, name, value)
        for number in value if isinstance(value, tuple) else (value,):
            if limits is not None and isinstance(number, int | float):
                require_within(f"{place}.{name}", number, limits.low, limits.high, open_low=limits.open_low)
            elif isinstance(number, float) and not math.isfinite(number):
                raise InvalidInput(f"{place}.{name} is {value}; it must be finite.")


class Checked:
    """A dataclass whose values are of their fields' types and within their limits."""

    def __post_init__(self) -> None:
        check_types(self)


def freeze(spec: Any, *names: str) -> None:
    """Let fields of a specification hold copies of their mappings that nobody can change."""
    for name in names:
        object.__setattr__(spec, name, _frozen(getattr(spec, name)))


def _frozen(value: Any) -> Any:
    is_mapping = isinstance(value, Mapping)
    return types.MappingProxyType({key: _frozen(item) for key, item in value.items()}) if is_mapping else value


def known(value: T | None) -> T:
    """A field of a resolved specification, which the plan has written out."""
    assert value is not None, "a plan writes out every size and the budget in updates"
    return value


def describe(hint: Any) -> str:
    """A type in a user's words: `int or None`, `one of 'cls', 'mean'`."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, parts))
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe, parts))
    if origin is tuple:
        return f"a list of {describe(parts[0])}"
    if hint is bool:
        return "true or false"
    return "None" if hint is type(None) else getattr(hint, "__name__", str(hint))


def replace_at(spec: T, key: str, value: object) -> T:
    """A copy of a nested dataclass (or mapping) with the field at a dotted `key` replaced."""
    name, _, rest = key.partition(".")
    inner = value_at(spec, name, asked=key)
    if rest:
        value = replace_at(inner, rest, value)
    if isinstance(spec, Mapping):
        return {**spec, name: value}  # type: ignore[return-value]
    return dataclasses.replace(spec, **{name: value})  # type: ignore[type-var]


def value_at(spec: Any, key: str, *, asked: str = "") -> Any:
    """The value at a dotted `key` of a nested dataclass (or mapping); an unknown one, told as `asked`, names others."""
    for name in key.split("."):
        is_mapping = isinstance(spec, Mapping)
        names = spec if is_mapping else field_types(type(spec)) if dataclasses.is_dataclass(spec) else {}
        if name not in names:
            raise InvalidInput(f"{(asked or key)!r} is not a field of {type(spec).__name__}. {nearest(name, names)}")
        spec = spec[name] if is_mapping else getattr(spec, name)
    return spec


def nearest(name: str, valid: Iterable[str]) -> str:
    """`Did you mean 'x'? Valid: ...`: the end of every message about an unknown name."""
    names = list(valid)
    return f"{did_you_mean(name, names)}Valid: {', '.join(names) or 'none'}."


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`Did you mean 'x' or 'y'? `, or nothing where no name is near."""
    close = difflib.get_close_matches(name, list(valid), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(map(repr, close))}? " if close else ""


def _accepts(hint: Any, value: object) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in parts
    if origin in (Union, types.UnionType):
        return any(_accepts(part, value) for part in parts)
    if origin is tuple:
        return isinstance(value, tuple) and all(_accepts(parts[0], item) for item in value)
    if hint in (int, float):  # a bool is an int to Python, not to a user
        return type(value) is hint
    return hint is Any or isinstance(value, origin or hint)
