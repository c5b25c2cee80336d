"""Checks that the constructors of the specifications share."""

import dataclasses
import difflib
import math
import types
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from harness.spec.errors import InvalidInput

T = TypeVar("T")

NEUTRAL = "neutral"
"""Key of a field's metadata: the value with which the field is left out of what is kept and hashed."""
UNKEPT = "unkept"
"""Key of a field's metadata: the field is left out of what is kept and hashed, whatever its value."""


def later(neutral: T) -> T:
    """A field that a published specification did not have: by default `neutral`, which means what was before it.

    Left out where it is neutral, so that digests of the configurations that could be written before stay what they
    were.
    """
    return dataclasses.field(default=neutral, metadata={NEUTRAL: neutral})


_FIELD_TYPES: dict[type, dict[str, Any]] = {}


def field_types(cls: type) -> dict[str, Any]:
    """The resolved type of each field of a dataclass."""
    if cls not in _FIELD_TYPES:
        hints = get_type_hints(cls)
        _FIELD_TYPES[cls] = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    return _FIELD_TYPES[cls]


def check_types(spec: Any) -> None:
    """Refuse a field whose value is not of its declared type; an int where a float is declared becomes a float.

    No field takes NaN or an infinite number.
    """
    for name, hint in field_types(type(spec)).items():
        value = getattr(spec, name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, float) and not math.isfinite(number):
                raise InvalidInput(f"{type(spec).__name__}.{name} is {value}; it must be finite.")
        if _accepts(hint, value):
            continue
        if type(value) is int and _accepts(hint, float(value)):
            object.__setattr__(spec, name, float(value))
            continue
        raise InvalidInput(
            f"{type(spec).__name__}.{name} is {value!r} ({type(value).__name__}); it must be {describe(hint)}."
        )


def known(value: T | None) -> T:
    """A field of a resolved specification, which the plan has written out."""
    assert value is not None, "a plan writes out every size and the budget in updates"
    return value


def describe(hint: Any) -> str:
    """A type in a user's words: `int or None`, `one of 'cls', 'mean'`."""
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(describe(part) for part in get_args(hint))
    if get_origin(hint) is tuple:
        return f"a list of {describe(get_args(hint)[0])}"
    return "None" if hint is type(None) else getattr(hint, "__name__", str(hint))


def replace_at(spec: T, key: str, value: object) -> T:
    """A copy of a nested dataclass (or mapping) with the field at a dotted `key` replaced."""
    name, _, rest = key.partition(".")
    inner = value_at(spec, name, asked=key)
    if rest:
        if not isinstance(inner, Mapping) and not dataclasses.is_dataclass(inner):
            raise InvalidInput(f"{name!r} of {type(spec).__name__} is a plain value and has no field {rest!r}.")
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
    return f"{did_you_mean(name, names)}Valid: {', '.join(names)}."


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`Did you mean 'x' or 'y'? `, or nothing where no name is near."""
    close = difflib.get_close_matches(name, list(valid), n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(map(repr, close))}? " if close else ""


def _accepts(hint: Any, value: object) -> bool:
    origin = get_origin(hint)
    if hint is Any:
        return True
    if origin is Literal:
        return value in get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_accepts(part, value) for part in get_args(hint))
    if origin is tuple:
        return isinstance(value, tuple) and all(_accepts(get_args(hint)[0], item) for item in value)
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, Mapping)
    if hint in (int, float):  # a bool is an int to Python, not to a user
        return type(value) is hint
    return isinstance(value, origin or hint)
