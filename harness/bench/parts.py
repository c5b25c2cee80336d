"""The parts of the bench, each a module of this package with `measure(settings) -> list[Row]`."""

from collections.abc import Callable
from importlib import import_module

from harness.bench.rows import Row
from harness.bench.settings import Settings
from harness.spec import InvalidInput

PARTS = {
    "step": "training steps on a batch at hand, against other libraries' models",
    "data": "training from data to weights, against the usual stack",
    "accuracy": "what the laptop recipe reaches in a minute of training",
    "study": "a study of 12 trainings, against a shell loop over the usual stack",
    "overhead": "what the harness adds to a training, and how long its commands take",
    "growth": "time and memory against images, tokens, depth and runs",
    "roofline": "peaks of the machine, and the share of them that training reaches",
}
"""By name: what a part measures. The module has the part's name."""


def chosen(names: tuple[str, ...]) -> list[str]:
    """The parts named, or all, in the order of `PARTS`; `InvalidInput` for a name that is none."""
    for name in names:
        if name not in PARTS:
            raise InvalidInput(f"The bench has no part {name!r}; valid: {', '.join(PARTS)}.")
    return [name for name in PARTS if name in names or not names]


def measure_of(name: str) -> Callable[[Settings], list[Row]]:
    """The function of a part; loads what the part needs."""
    measure: Callable[[Settings], list[Row]] = import_module(f"harness.bench.{name}").measure
    return measure
