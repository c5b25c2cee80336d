"""The loss of a batch, or of a part of one. B images, K classes."""

import torch.nn.functional as F  # noqa: N812 (the field's usual name)
from torch import Tensor

from harness.spec import Recipe


def loss_of(logits: Tensor, targets: Tensor, taught: Tensor | None, recipe: Recipe) -> Tensor:
    """Mean cross-entropy with the labels and, where there is a teacher, with its answers; a scalar.

    `logits` float32 (B, K), or (B, 2, K) of a class head and a distillation head; `targets` int64 (B,) or, where
    images were mixed, float32 (B, K), both smoothed as the recipe says; `taught` int64 (B,), the teacher's classes.

    Hard distillation (arXiv 2012.12877, section 4): each head learns from its own part. A model with one head learns
    from both parts with it.
    """
    own, distilled = logits.unbind(1) if logits.ndim == 3 else (logits, logits)
    loss = F.cross_entropy(own, targets, label_smoothing=recipe.label_smoothing)
    if taught is None:
        return loss
    assert recipe.distillation is not None
    weight = recipe.distillation.weight
    return (1 - weight) * loss + weight * F.cross_entropy(distilled, taught)
