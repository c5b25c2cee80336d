"""Training steps on a batch at hand: our arms against other libraries' models of the same size in a plain loop.

All use AdamW (fused), cross-entropy, the same batch size and, in each row, the same precision. torchvision's vision
transformer has a class token, so it stands against ours with one. vit-pytorch's has no bias in attention, fixed
positions and two LayerNorms more. A library's ResNet is also timed in the memory format that ours has, channels_last.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.bench.arms import ARMS, CLASSES, VIT_P7, Arm, made_up, own_step
from harness.bench.arms import RESNET8 as RESNET8_ARM
from harness.bench.compared import Details, throughput_rows
from harness.bench.peers import Library, ResNet8, plain_update, resnet18, vit
from harness.bench.rows import Row
from harness.bench.settings import Settings
from harness.bench.turns import Contender, Contest
from harness.models import build, parameters
from harness.spec import ResNetSpec, ViTSpec

OWN, WITH_CLASS_TOKEN = "patchbench", "patchbench, class token"
RIVALS = {
    OWN: (
        "timm",
        "vit-pytorch SimpleViT",
        "torchvision ResNet",
        "timm, channels_last",
        "torchvision ResNet, channels_last",
    ),
    WITH_CLASS_TOKEN: ("torchvision",),
}


def measure(settings: Settings) -> list[Row]:
    """Throughput of a training step of every arm, library, precision and number of threads."""
    rows = []
    for arm in (VIT_P7, RESNET8_ARM) if settings.quick else ARMS:
        contenders = list(_contenders(arm, settings))
        details = details_of(arm)
        with Contest(contenders) as contest:
            for threads in settings.threads:
                seconds = contest.rounds(threads=threads, rounds=settings.rounds, seconds=settings.seconds)
                rows += throughput_rows(
                    contenders,
                    seconds,
                    part="step",
                    what=arm.name,
                    batch=arm.batch,
                    threads=threads,
                    rivals=RIVALS,
                    details=details,
                )
    return rows


def peer_model(library: Library, arm: Arm) -> nn.Module:
    """A library's model of the arm's size."""
    match arm.model:
        case ViTSpec() as spec:
            return vit(
                library,
                image_size=arm.image_size,
                channels=arm.channels,
                patch_size=spec.patch_size,
                width=spec.width,
                depth=spec.depth,
                heads=spec.heads,
                mlp_ratio=spec.mlp_ratio,
            )
        case ResNetSpec(depth=8, width=int(width)):
            return ResNet8(library, channels=arm.channels, width=width)
        case _:
            return resnet18(library, channels=arm.channels)


def with_class_token(arm: Arm) -> Arm:
    """The arm whose head reads a class token."""
    assert isinstance(arm.model, ViTSpec)
    return replace(arm, model=replace(arm.model, pool="cls"))


def details_of(arm: Arm) -> dict[str, Details]:
    """Parameters and multiply-accumulates of every contender's model of an arm."""

    def counted(make: Callable[[], nn.Module]) -> Details:
        with torch.device("meta"):
            model = make()
        return {"parameters": parameters(model), "macs_per_image": macs_of(model, arm)}

    shape = {"image_size": arm.image_size, "channels": arm.channels, "classes": CLASSES}
    # On a CPU ours attends by matrix products; counted so, as the counter does not see into every fused kernel.
    found = {OWN: counted(partial(build, arm.model, attention="explicit", **shape))}
    if isinstance(arm.model, ViTSpec):
        found[WITH_CLASS_TOKEN] = counted(partial(build, with_class_token(arm).model, attention="explicit", **shape))
        peers: dict[str, Library] = {"timm": "timm", "torchvision": "torchvision"}
        # Its fixed positions are computed where the model is made, and kept outside its parameters.
        model = peer_model("vit-pytorch", arm)
        found["vit-pytorch SimpleViT"] = {"parameters": parameters(model), "macs_per_image": macs_of(model, arm)}
    else:
        peers = {"timm": "timm", "torchvision ResNet": "torchvision"}
    for name, library in peers.items():
        found[name] = found[f"{name}, channels_last"] = counted(partial(peer_model, library, arm))
    return found


def macs_of(model: nn.Module, arm: Arm) -> int:
    """Multiply-accumulates of a forward pass of one image, in all matrix products and convolutions."""
    image = torch.empty(1, arm.channels, arm.image_size, arm.image_size, device=next(model.parameters()).device)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.eval()
        model(image)
    flops: int = counter.get_total_flops()
    return flops // 2


def peer_step(library: Library, arm: Arm, precision: str, device: str, *, channels_last: bool) -> Callable[[], Any]:
    """A function that does one update of a library's model on a batch at hand."""
    pixels, labels = made_up(arm, arm.batch)
    images = (pixels.float() / 127.5 - 1).to(device)
    update = plain_update(peer_model(library, arm), precision=precision, device=device, channels_last=channels_last)
    if channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    return partial(update, images, labels.to(device))


def _contenders(arm: Arm, settings: Settings) -> Iterator[Contender]:
    for precision in settings.precisions:
        device = settings.device
        block = 10 if device == "cuda" else 1  # not to wait for the device after every step
        where: dict[str, Any] = {"precision": precision, "device": device, "block": block}
        yield Contender(name=OWN, make=partial(own_step, arm, precision, device), **where)
        if isinstance(arm.model, ViTSpec):
            make: Callable[[], Callable[[], Any]] = partial(own_step, with_class_token(arm), precision, device)
            yield Contender(name=WITH_CLASS_TOKEN, make=make, **where)
        for name, library, last in _peers(arm):
            make = partial(peer_step, library, arm, precision, device, channels_last=last)
            yield Contender(name=name, make=make, **where)


def _peers(arm: Arm) -> list[tuple[str, Library, bool]]:
    """Name, library and whether its images are channels_last."""
    if isinstance(arm.model, ViTSpec):
        return [
            ("timm", "timm", False),
            ("torchvision", "torchvision", False),
            ("vit-pytorch SimpleViT", "vit-pytorch", False),
        ]
    return [
        ("timm", "timm", False),
        ("timm, channels_last", "timm", True),
        ("torchvision ResNet", "torchvision", False),
        ("torchvision ResNet, channels_last", "torchvision", True),
    ]
