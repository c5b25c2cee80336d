"""`key=value` pairs from the command line, applied to a study with their declared types."""

import types
from collections.abc import Iterable
from dataclasses import is_dataclass, replace
from typing import Any, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from harness.spec import BUDGET_UNITS, InvalidInput, ResolvedStudy
from harness.spec.checks import describe, field_types, nearest, replace_at
from harness.spec.errors import require

OVERRIDABLE = ("data", "recipe", "search", "seeds", "train_sizes")
"""Fields of a study that a user may override; the arms are the study's own."""


def override(study: ResolvedStudy, pairs: Iterable[str]) -> ResolvedStudy:
    """The study with each `key=value` applied, in order: `recipe.updates=500`, `seeds=0,1`, `data.source=digits`.

    A budget in one unit replaces the study's budget in another. Raises `InvalidInput` for an unknown key (naming its
    neighbours), an ill-typed or an impossible value.
    """
    units: list[str] = []
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key:
            raise InvalidInput(f"Override {pair!r} is not of the form key=value, e.g. recipe.updates=500.")
        key = "search.trials" if key == "trials" else key
        if key.partition(".")[0] not in OVERRIDABLE:
            raise InvalidInput(f"{key!r} cannot be overridden. {nearest(key.partition('.')[0], OVERRIDABLE)}")
        value = _parse(key, text, _type_at(ResolvedStudy, key))
        group, _, field = key.partition(".")
        if group == "recipe" and field in BUDGET_UNITS and value is not None:
            units.append(field)
            require(len(units) == 1, f"The budget is given in two units: {', '.join(units)}. Give one of them.")
            budget: dict[str, Any] = dict.fromkeys(BUDGET_UNITS) | {field: value}
            study = replace(study, recipe=replace(study.recipe, **budget))
        else:
            study = replace_at(study, key, value)
    return study


def _type_at(cls: type, key: str) -> Any:
    name, _, rest = key.partition(".")
    fields = field_types(cls)
    if name not in fields:
        raise InvalidInput(f"{key!r} is not a field of {cls.__name__}. {nearest(name, fields)}")
    hint = fields[name]
    if not rest:
        if is_dataclass(hint):
            inner = ", ".join(f"{name}.{field}" for field in field_types(hint))  # type: ignore[arg-type]
            raise InvalidInput(f"{key!r} is a group of fields; override one of them: {inner}.")
        return hint
    if not is_dataclass(hint):
        raise InvalidInput(f"{name!r} is a plain value and has no field {rest!r}.")
    assert isinstance(hint, type)
    return _type_at(hint, rest)


def _parse(key: str, text: str, hint: Any) -> Any:
    raw: Any = text.strip()
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if type(None) in options and raw.lower() in ("null", "none", ""):
        return None
    if any(get_origin(option) is tuple for option in options):
        raw = tuple(part.strip() for part in raw.strip("()[]").split(",") if part.strip())
    try:
        return TypeAdapter(hint).validate_python(raw)
    except ValidationError:
        raise InvalidInput(f"{key} is {text!r}; it must be {describe(hint)}.") from None
