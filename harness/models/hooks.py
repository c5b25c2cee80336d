"""What modules get or make while a model computes, heard through hooks: the model itself stays as it is."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from torch import Tensor, nn


@contextmanager
def heard(modules: Iterable[nn.Module], what: Literal["input", "output"]) -> Iterator[list[Tensor]]:
    """A list that takes in, call by call, the first input or the output of each module for as long as this is open."""
    found = list[Tensor]()

    def hear(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        found.append(inputs[0] if what == "input" else output)

    hooks = [module.register_forward_hook(hear) for module in modules]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
