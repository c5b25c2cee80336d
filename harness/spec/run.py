"""One training with everything resolved, and its identity."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, Literal

from harness.spec.checks import NEUTRAL, UNKEPT, Checked, known, later
from harness.spec.data import DataSpec
from harness.spec.few_shot import FewShot
from harness.spec.formats import counted
from harness.spec.model import ModelSpec
from harness.spec.recipe import Recipe

SCHEMA = 1  # version of what a configuration means; part of every digest. Raise it when a field changes its meaning.

Phase = Literal["tune", "confirm"]


@dataclass(frozen=True, kw_only=True)
class RunConfig(Checked):
    """Everything that decides a training's result, written out: the budget in updates, sizes of images and of parts."""

    schema: int = SCHEMA
    phase: Phase  # `tune` trainings are scored on validation and never see the test split
    seed: int  # root of the generators for the subset, initialisation, batch order and augmentation
    model: ModelSpec
    recipe: Recipe
    data: DataSpec
    data_hash: str  # SHA-256 of the source's images and labels
    channels: int
    classes: int
    test_shifts: tuple[int, ...] = ()
    """Also tested on images moved by this many pixels in each of four directions; empty for the plain test alone."""
    few_shot: FewShot | None = later(None)
    few_shot_hash: str = later("")
    """Evaluation on another task, sizes written out, in the confirm phase; SHA-256 of that task's images and labels."""
    rungs: tuple[()] = field(default=(), init=False)
    """Always empty: part of every digest, from when a trial could be stopped early."""

    @property
    def image_size(self) -> int:
        return known(self.data.image_size)

    @property
    def train_size(self) -> int:
        return known(self.data.size)

    @property
    def shape(self) -> dict[str, int]:
        """What the model is built for; `image_size` in pixels."""
        return {"image_size": self.image_size, "channels": self.channels, "classes": self.classes}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the configuration: the run's identity, 64 hexadecimal digits."""
        return hashlib.sha256(canonical_json(self).encode()).hexdigest()


def pretraining_config(config: RunConfig) -> RunConfig:
    """The training whose weights a run starts from, where its recipe has one: a confirm run of its own."""
    made = known(known(config.recipe.start_from).pretraining)
    assert made.model is not None, "a plan writes out the model, too"
    return RunConfig(
        phase="confirm",
        seed=config.seed % made.seeds,
        model=made.model,
        recipe=made.recipe,
        data=made.data,
        data_hash=known(made.data_hash),
        channels=known(made.channels),
        classes=known(made.classes),
    )


@dataclass(frozen=True, kw_only=True)
class Run:
    """A planned training: its configuration and its place in the study (which is not part of its identity)."""

    arm: str
    config: RunConfig
    trial: int | None = None  # number of the trial within its search; None for confirm runs
    search: int | None = None
    """Which of several searches the trial is of, or has chosen a confirm run's setting; None where there is one."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """The nuisance parameters' values, by their names in the search; they are part of `config` too."""

    @property
    def digest(self) -> str:
        return self.config.digest

    @property
    def label(self) -> str:
        """Short name for logs: arm, size and seed or trial."""
        part = part_of_study(self.trial, self.search, self.config.seed)
        return f"{self.arm} · {counted(self.config.train_size, 'image')} · {part}"


def part_of_study(trial: int | None, search: int | None, seed: int) -> str:
    """`search 2, trial 3`, `trial 3` or `seed 0`: a run within its cell."""
    if trial is None:
        return f"seed {seed}"
    return f"trial {trial}" if search is None else f"search {search}, trial {trial}"


def to_plain(value: Any) -> Any:
    """Dataclasses, mappings and tuples as dicts and lists for JSON, without neutral fields; a function by its name."""
    if hasattr(value, "kept_as") and not isinstance(value, type):
        return to_plain(value.kept_as())
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_plain(getattr(value, item.name)) for item in fields(value) if _is_kept(value, item)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return value.__name__ if callable(value) else value


def _is_kept(owner: Any, item: Field[Any]) -> bool:
    is_neutral = NEUTRAL in item.metadata and getattr(owner, item.name) == item.metadata[NEUTRAL]
    return UNKEPT not in item.metadata and not is_neutral


def leaves(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested dicts by their dotted names; an empty dict is a value."""
    found: dict[str, Any] = {}
    for key, value in plain.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return found


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
