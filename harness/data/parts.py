"""The part of each batch that one of several processes trains on, all together one model."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from harness.spec import Recipe


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of each batch of `batch_size` images."""

    batch_size: int
    rows: Tensor  # int64 (R,): the images that are read; where images are mixed, with the neighbours of those owned
    own: Tensor  # int64 (batch_size / ranks,), places in `rows`: the images that are trained on

    @classmethod
    def of(cls, recipe: Recipe, rank: int, ranks: int) -> Self:
        """The part of process `rank` of `ranks`: its share of each of the parts that a batch is taken in.

        Raises `InvalidInput` for a batch that cannot be divided so.
        """
        recipe.check_shared(ranks)
        share = recipe.batch_size // (recipe.accumulate * ranks)
        first = (torch.arange(recipe.accumulate) * ranks + rank) * share
        # An image is mixed with the one before it: a row more in front of each share keeps it there.
        ahead = int(bool(recipe.augmentation.mixup or recipe.augmentation.cutmix))
        rows = first[:, None] + torch.arange(-ahead, share)  # (parts, share + ahead)
        own = torch.arange(rows.numel()).view(rows.shape)[:, ahead:]
        return cls(recipe.batch_size, rows.flatten() % recipe.batch_size, own.flatten())

    def to(self, device: torch.device) -> "Part":
        """The same on a device."""
        return Part(self.batch_size, self.rows.to(device), self.own.to(device))
