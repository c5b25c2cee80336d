"""What a bench measures with; the same for every part."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How thoroughly, and on what, each part measures."""

    folder: Path
    """A folder for whatever a part writes; it is empty before the part and removed after it."""
    quick: bool = False
    """A look in a minute or two instead of figures to quote: fewer settings, shorter turns."""
    device: str = "cpu"
    """`cpu` or `cuda`."""
    threads: tuple[int, ...] = (1, 2)
    """Processor threads to measure with, each by itself."""
    precisions: tuple[str, ...] = ("fp32", "bf16")
    """`fp32`, and `bf16` for autocast, each by itself."""
    rounds: int = 9
    """Turns of each contender; contenders take turns, so that a disturbance hits all alike."""
    seconds: float = 0.4
    """Length of one turn."""
    say: Callable[[str], object] = field(default=lambda text: None, compare=False, repr=False)
    """Is told what is being measured."""

    @property
    def most_threads(self) -> int:
        """The largest of `threads`."""
        return max(self.threads)
