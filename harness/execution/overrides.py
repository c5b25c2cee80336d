"""`key=value` pairs from the command line, applied to a study with their declared types."""

import types
from collections.abc import Iterable
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from harness.spec import BUDGET_UNITS, DataSpec, InvalidInput, ResolvedStudy, changed_fields, find_study
from harness.spec.checks import describe, field_types, nearest, replace_at, value_at
from harness.spec.errors import require

OVERRIDABLE = ("data", "recipe", "search", "seeds", "train_sizes")
"""Fields of a study that a user may override; the arms are the study's own."""


def resolve_study(name: str, scale: str | None, pairs: Iterable[str]) -> ResolvedStudy:
    """A shipped study or that of a file, at a scale, by default this machine's, with `key=value` overrides.

    Raises `InvalidInput` where one of them is wrong; the message names the nearest one.
    """
    found, study = find_study(name)
    return override(study.resolve(found, scale or default_scale()), pairs)


def default_scale() -> str:
    """`gpu` where CUDA is there, else `laptop`; torch is asked only where there is a driver."""
    if not any(Path(path).exists() for path in ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")):
        return "laptop"
    import torch

    return "gpu" if torch.cuda.is_available() else "laptop"


def override(study: ResolvedStudy, pairs: Iterable[str]) -> ResolvedStudy:
    """The study with each `key=value` applied, in order: `recipe.updates=500`, `seeds=0,1`, `data.source=digits`.

    A budget in one unit replaces the study's budget in another. What was changed after a first look was changed in the
    study as it is written: with other data, training or tuning nothing is said of it. Raises `InvalidInput` for an
    unknown key (naming its neighbours), an ill-typed or an impossible value.
    """
    units: list[str] = []
    written = study
    for pair in pairs:
        key, value = _key_and_value(pair)
        group, _, field = key.partition(".")
        if group == "recipe" and field in BUDGET_UNITS and value is not None:
            units.append(field)
            require(len(units) == 1, f"The budget is given in two units: {', '.join(units)}. Give one of them.")
            budget: dict[str, Any] = dict.fromkeys(BUDGET_UNITS) | {field: value}
            study = replace(study, recipe=replace(study.recipe, **budget))
        else:
            study = replace_at(study, key, value)
    if replace(study, seeds=written.seeds) != written:
        study = replace(study, changes_after_first_look=())
    return study


def as_overrides(written: ResolvedStudy, study: ResolvedStudy) -> list[str] | None:
    """The pairs that make `study` of the study as it is written; None where no pairs do."""
    pairs = []
    try:
        for key in changed_fields(written, study):
            value = value_at(study, key)
            if key.partition(".")[0] in OVERRIDABLE and not (value is None and key.partition(".")[2] in BUDGET_UNITS):
                pairs.append(f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
        return pairs if override(written, pairs) == study else None
    except InvalidInput:
        return None


def override_data(spec: DataSpec, pairs: Iterable[str]) -> DataSpec:
    """The data with each `data.FIELD=value` applied, as `override` applies them to a study."""
    for pair in pairs:
        name = pair.partition("=")[0]
        if not name.startswith("data."):
            known = nearest(f"data.{name}", (f"data.{field}" for field in field_types(DataSpec)))
            raise InvalidInput(f"{pair!r} is no override of the data. {known}")
        key, value = _key_and_value(pair)
        spec = replace_at(spec, key.removeprefix("data."), value)
    return spec


def _key_and_value(pair: str) -> tuple[str, Any]:
    """The two sides of an override, the right one with the type that the left one has."""
    key, sign, text = pair.partition("=")
    if not sign or not key:
        raise InvalidInput(f"Override {pair!r} is not of the form key=value, e.g. recipe.updates=500.")
    key = "search.trials" if key == "trials" else key
    if key.partition(".")[0] not in OVERRIDABLE:
        raise InvalidInput(f"{key!r} cannot be overridden. {nearest(key.partition('.')[0], OVERRIDABLE)}")
    return key, _parse(key, text, _type_at(ResolvedStudy, key))


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
