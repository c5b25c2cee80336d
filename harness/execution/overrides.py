"""`key=value` pairs from the command line, applied to a study with their declared types."""

from collections.abc import Iterable
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from harness.spec import BUDGET_UNITS, DataSpec, FewShot, InvalidInput, ResolvedStudy, find_study
from harness.spec.checks import describe, field_types, nearest, replace_at
from harness.spec.errors import require

OVERRIDABLE = ("data", "recipe", "search", "seeds", "train_sizes", "long_from", "long_seeds", "few_shot")
"""Of a study; the arms are its own."""


def resolve_study(name: str, scale: str | None, pairs: Iterable[str]) -> ResolvedStudy:
    """A shipped study or that of a file, at a scale, by default this machine's, with `key=value` overrides."""
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

    A budget in one unit replaces that in another; `trials=0` (or 1) takes repeated searches away. What was changed
    after a first look is forgotten with other data, training or tuning. Raises `InvalidInput` for an unknown key, an
    ill-typed or an impossible value.
    """
    pairs = list(pairs)
    units, parts = list[str](), {name: getattr(study, name) for name in OVERRIDABLE}
    for pair in pairs:
        key, value = _key_and_value(pair)
        part, _, rest = key.partition(".")
        if part == "few_shot":
            told = f"{key!r} cannot be overridden: study {study.name!r} evaluates on no other task. Take pretraining."
            require(study.few_shot is not None, told)
        if part == "recipe" and rest in BUDGET_UNITS and value is not None:
            units.append(rest)
            require(len(units) == 1, f"The budget is given in two units: {', '.join(units)}. Give one of them.")
            parts[part] = replace(parts[part], **(dict.fromkeys(BUDGET_UNITS) | {rest: value}))
        else:
            parts[part] = replace_at(parts[part], rest, value) if rest else value
        if pair.startswith("trials=") and value < 2:  # nothing is searched, so nothing is repeated
            parts["search"] = replace(parts["search"], repeats=1)
    changed = replace(study, **parts)  # all at once: what is impossible after one may be possible after the next
    for pair in pairs:
        _require_effect(changed, pair)
    return changed if replace(changed, seeds=study.seeds) == study else replace(changed, changes_after_first_look=())


def _require_effect(study: ResolvedStudy, pair: str) -> None:
    """Refuse what every arm of a study sets for itself, or its training sizes do."""
    key, _, value = pair.partition("=")
    told = f"{pair!r} would change nothing in study {study.name!r}"
    sizes = f"{told}, which varies the training size. Give train_sizes={value}."
    require(key != "data.train_size" or not study.train_sizes, sizes)
    own = [any(f"{key}.".startswith(f"{name}.") for name in arm.changes) for arm in study.all_arms]
    require(not all(own), f"{told}: each of its arms sets {key} itself. Give another key, or change the study file.")


def override_data(spec: DataSpec, pairs: Iterable[str]) -> DataSpec:
    """The data with each `data.FIELD=value` applied, as `override` applies them to a study."""
    for pair in pairs:
        known = nearest(f"data.{pair.partition('=')[0]}", [f"data.{field}" for field in field_types(DataSpec)])
        require(pair.startswith("data."), f"{pair!r} is no override of the data. {known}")
        key, value = _key_and_value(pair)
        spec = replace_at(spec, key.removeprefix("data."), value)
    return spec


def _key_and_value(pair: str) -> tuple[str, Any]:
    """The two sides of an override, the right one with the type that the left one has."""
    key, sign, text = pair.partition("=")
    require(bool(key and sign), f"Override {pair!r} is not of the form key=value, e.g. recipe.updates=500.")
    key = "search.trials" if key == "trials" else key
    names = key.split(".")
    require(names[0] in OVERRIDABLE, f"{key!r} cannot be overridden. {nearest(names[0], OVERRIDABLE)}")
    hint: Any = ResolvedStudy
    for at, name in enumerate(names):
        require(is_dataclass(hint), f"{key!r} names a field of a plain value, which has none.")
        fields = field_types(hint)
        require(name in fields, f"{key!r} is not a field of {hint.__name__}. {nearest(name, fields)}")
        hint = FewShot if at == 0 and name == "few_shot" else fields[name]  # None where there is none
    if is_dataclass(hint):
        inner = ", ".join(f"{key}.{field}" for field in field_types(hint))  # type: ignore[arg-type]
        raise InvalidInput(f"{key!r} is a group of fields; override one of them: {inner}.")
    return key, _parse(key, text.strip(), hint)


def _parse(key: str, text: str, hint: Any) -> Any:
    options = get_args(hint) or (hint,)
    if type(None) in options and text.lower() in ("null", "none", ""):
        return None
    raw: Any = text
    if any(get_origin(option) is tuple for option in (hint, *options)):
        raw = tuple(part.strip() for part in text.strip("()[]").split(",") if part.strip())
    try:
        return TypeAdapter(hint).validate_python(raw)
    except ValidationError:
        raise InvalidInput(f"{key} is {text!r}; it must be {describe(hint)}.") from None
