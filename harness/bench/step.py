"""Training steps on a batch at hand: our arms against other libraries' models of the same size in a plain loop.

All use AdamW (fused), cross-entropy, the same batch size and, in each row, the same precision. torchvision's vision
transformer has a class token, so it stands against ours with one. vit-pytorch's has no bias in attention, fixed
positions and two LayerNorms more. A library's ResNet is also timed in the memory format that ours has, channels_last;
and one peer of each kind with freed memory kept, as our workers keep it, which any script could do.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from harness.bench.arms import ARMS, CLASSES, RESNET8, VIT_P7, Arm, made_up, own_step
from harness.bench.compared import Details, throughput_rows
from harness.bench.peers import Library, ResNet8, plain_update, resnet18, vit
from harness.bench.rows import Row
from harness.bench.settings import Settings
from harness.bench.turns import Contender, Contest
from harness.models import build, parameters
from harness.spec import ResNetSpec, ViTSpec
from harness.training.allocator import keep_freed_memory

OWN, WITH_CLASS_TOKEN = "patchbench", "patchbench, class token"
KEPT = ", memory kept"


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another library's model and how it is trained."""

    name: str
    library: Library
    channels_last: bool = False
    keeps_memory: bool = False


VIT_PEERS = (
    Peer(name="timm", library="timm"),
    Peer(name=f"timm{KEPT}", library="timm", keeps_memory=True),
    Peer(name="torchvision", library="torchvision"),
    Peer(name="vit-pytorch SimpleViT", library="vit-pytorch"),
)
RESNET_PEERS = (
    Peer(name="timm", library="timm"),
    Peer(name="timm, channels_last", library="timm", channels_last=True),
    Peer(name="torchvision", library="torchvision"),
    Peer(name="torchvision, channels_last", library="torchvision", channels_last=True),
    Peer(name=f"torchvision, channels_last{KEPT}", library="torchvision", channels_last=True, keeps_memory=True),
)


def measure(settings: Settings) -> list[Row]:
    """Throughput of a training step of every arm, library, precision and number of threads."""
    rows = []
    for arm in (VIT_P7, RESNET8) if settings.quick else ARMS:
        settings.say(f"  {arm.name}")
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
                    rivals=_rivals(arm),
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

    def counted(model: nn.Module) -> Details:
        return {"parameters": parameters(model), "macs_per_image": macs_of(model, arm)}

    shape: dict[str, Any] = {"image_size": arm.image_size, "channels": arm.channels, "classes": CLASSES}
    # By matrix products, as on a CPU: the counter does not see into every fused kernel.
    found = {OWN: counted(build(arm.model, attention="explicit", **shape))}
    if isinstance(arm.model, ViTSpec):
        found[WITH_CLASS_TOKEN] = counted(build(with_class_token(arm).model, attention="explicit", **shape))
    models = {library: counted(peer_model(library, arm)) for library in {peer.library for peer in peers_of(arm)}}
    return found | {peer.name: models[peer.library] for peer in peers_of(arm)}


def macs_of(model: nn.Module, arm: Arm) -> int:
    """Multiply-accumulates of a forward pass of one image, in all matrix products and convolutions."""
    image = torch.empty(1, arm.channels, arm.image_size, arm.image_size, device=next(model.parameters()).device)
    model.train()  # in evaluation torch's own attention layer takes a kernel that the counter does not see into
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(image)
    flops: int = counter.get_total_flops()
    return flops // 2


def peers_of(arm: Arm) -> tuple[Peer, ...]:
    """Whom the arm is compared with."""
    return VIT_PEERS if isinstance(arm.model, ViTSpec) else RESNET_PEERS


def peer_step(peer: Peer, arm: Arm, precision: str, device: str) -> Callable[[], Any]:
    """A function that does one update of a library's model on a batch at hand."""
    if peer.keeps_memory:
        keep_freed_memory()
    pixels, labels = made_up(arm, arm.batch)
    images = (pixels.float() / 127.5 - 1).to(device)
    last = peer.channels_last
    update = plain_update(peer_model(peer.library, arm), precision=precision, device=device, channels_last=last)
    if last:
        images = images.contiguous(memory_format=torch.channels_last)
    return partial(update, images, labels.to(device))


def _rivals(arm: Arm) -> dict[str, list[str]]:
    """By our contender: the peers whose model is the same as its own."""
    names = [peer.name for peer in peers_of(arm)]
    if not isinstance(arm.model, ViTSpec):
        return {OWN: names}
    return {OWN: [name for name in names if name != "torchvision"], WITH_CLASS_TOKEN: ["torchvision"]}


def _contenders(arm: Arm, settings: Settings) -> Iterator[Contender]:
    device = settings.device
    block = 10 if device == "cuda" else 1  # not to wait for the device after every step
    for precision in settings.precisions:
        makers: dict[str, Callable[[], Callable[[], Any]]] = {OWN: partial(own_step, arm, precision, device)}
        if isinstance(arm.model, ViTSpec):
            makers[WITH_CLASS_TOKEN] = partial(own_step, with_class_token(arm), precision, device)
        makers |= {peer.name: partial(peer_step, peer, arm, precision, device) for peer in peers_of(arm)}
        for name, make in makers.items():
            yield Contender(name=name, precision=precision, make=make, device=device, block=block)
