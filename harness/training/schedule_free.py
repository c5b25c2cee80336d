"""Schedule-free AdamW (arXiv 2405.15682): averages the weights in place of a schedule that ends at 0."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from harness.spec.checks import known


class ScheduleFreeAdamW(torch.optim.Optimizer):
    """AdamW whose gradients are taken at y, between its iterates z and their average x (Algorithm 1 and section 4.2).

    The parameters are y; x is written into tensors of the caller's, which are what is evaluated and kept. Iterates
    count in x by the square of the largest learning rate so far, so that a warm-up counts little. Decay acts at y, as
    in the authors' code (facebookresearch/schedule_free).
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        averages: Mapping[Tensor, Tensor],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float = 1e-8,
    ) -> None:
        """`averages`: for each parameter the tensor that holds its average, at first equal to it."""
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0}
        super().__init__(groups, defaults | {"updates": 0, "largest_rate": 0.0, "weights": 0.0})
        self._averages = averages

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient, and the averages."""
        assert closure is None
        for group in self.param_groups:
            y = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not y:
                continue
            rate, (beta1, beta2) = group["lr"], group["betas"]
            group["updates"] += 1
            group["largest_rate"] = max(rate, group["largest_rate"])
            group["weights"] += group["largest_rate"] ** 2
            for parameter in y:
                if not self.state[parameter]:
                    self.state[parameter].update(z=parameter.clone(), squares=torch.zeros_like(parameter))
            z, squares = ([self.state[parameter][name] for parameter in y] for name in ("z", "squares"))
            x, gradients = [self._averages[parameter] for parameter in y], [known(parameter.grad) for parameter in y]
            torch._foreach_mul_(squares, beta2)
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
            scales = torch._foreach_div(squares, 1 - beta2 ** group["updates"])
            torch._foreach_sqrt_(scales)
            torch._foreach_add_(scales, group["eps"])
            steps = torch._foreach_div(gradients, scales)
            torch._foreach_add_(steps, y, alpha=group["weight_decay"])
            torch._foreach_add_(z, steps, alpha=-rate)
            torch._foreach_lerp_(x, z, group["largest_rate"] ** 2 / group["weights"])
            torch._foreach_copy_(y, torch._foreach_lerp(z, x, beta1))
