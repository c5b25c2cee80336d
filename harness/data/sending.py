"""From the host to the device that trains, without anybody waiting for the other."""

import torch
from torch import Tensor

SHARE = 4  # at most one part in so many of what is free of a card holds images; the rest is for models, and other runs


def fits(size: int, device: torch.device) -> bool:
    """Whether images of so many bytes are to lie on the device, from where they are read soonest."""
    return device.type != "cuda" or SHARE * size <= torch.cuda.mem_get_info(device)[0]


def held_for(device: torch.device, *size: int, dtype: torch.dtype) -> Tensor:
    """An empty tensor on the host, from which values go to `device`: for CUDA in pinned memory.

    From any other memory the driver first copies them to memory of its own, and may wait until the device has done all
    that it was given (CUDA Runtime API, "API synchronization behavior"): it would then idle after each update.
    """
    return torch.empty(size, dtype=dtype, pin_memory=device.type == "cuda")


def sent(values: Tensor, device: torch.device) -> Tensor:
    """`values`, of the host, on `device`: at once for whatever is done with them there."""
    if device.type == "cuda" and values.device.type == "cpu":
        values = held_for(device, *values.shape, dtype=values.dtype).copy_(values)
    return values.to(device, non_blocking=True)
