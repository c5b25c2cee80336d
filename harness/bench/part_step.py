"""Training steps on a batch at hand: our models against other libraries' of the same size in a plain loop.

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

from harness.bench.contest import Contender, Settings, race, rows_of
from harness.bench.peers import Library, ResNet8, plain_update, resnet18, vit
from harness.bench.rows import Row
from harness.bench.workloads import RESNET8, RESNET18, VIT_P4, VIT_P7, VIT_TI, Workload, own_step, random_images
from harness.spec import ResNetSpec, ViTSpec
from harness.training.allocator import keep_freed_memory

WORKLOADS = (VIT_P4, VIT_P7, VIT_TI, RESNET8, RESNET18)


@dataclass(frozen=True)
class Peer:
    """Another library's model and how it is trained."""

    library: Library
    channels_last: bool = False
    keeps_memory: bool = False

    @property
    def name(self) -> str:
        return self.library + ", channels_last" * self.channels_last + ", memory kept" * self.keeps_memory


VIT_PEERS = (Peer("timm"), Peer("timm", keeps_memory=True), Peer("torchvision"), Peer("vit-pytorch SimpleViT"))
RESNET_PEERS = tuple(Peer("torchvision", last, kept) for last, kept in ((False, False), (True, False), (True, True)))
PEERS = {"vit": VIT_PEERS, "resnet": RESNET_PEERS}


def measure(settings: Settings) -> list[Row]:
    """Images per second of a training step of every model, library, precision and number of threads."""
    rows = []
    for workload in (VIT_P7, RESNET8) if settings.quick else WORKLOADS:
        settings.say(f"  {workload.name}")
        raced = [one for precision in settings.precisions for one in contenders(workload, precision, settings.device)]
        times = race(raced, threads=settings.threads, rounds=settings.rounds, seconds=settings.seconds)
        rows += rows_of(raced, times, part="step", what=workload.name, batch=workload.batch, unit="images/s")
    return rows


def contenders(workload: Workload, precision: str, device: str) -> Iterator[Contender]:
    """Ours, each with the peers that have the same model, and these."""
    shared: dict[str, Any] = {"precision": precision, "block": 10 if device == "cuda" else 1}
    for own, rivals in own_models(workload).items():
        name = "patchbench, class token" if own != workload else "patchbench"
        yield Contender(name, partial(own_step, own, precision, device), rivals=rivals, **shared)
    for peer in peers_of(workload):
        yield Contender(peer.name, partial(peer_step, peer, workload, precision, device), **shared)


def peers_of(workload: Workload) -> tuple[Peer, ...]:
    """Whom our model is compared with."""
    return PEERS[workload.model.kind]


def own_models(workload: Workload) -> dict[Workload, list[str]]:
    """Our model, and for a ViT ours with a class token too, with the names of the peers whose model is the same."""
    names = [peer.name for peer in peers_of(workload)]
    match workload.model:
        case ViTSpec() as spec:
            names.remove("torchvision")
            return {workload: names, replace(workload, model=replace(spec, pool="cls")): ["torchvision"]}
        case _:
            return {workload: names}


def peer_model(library: Library, workload: Workload) -> nn.Module:
    """A library's model of the workload's size."""
    channels = workload.channels
    match workload.model:
        case ViTSpec() as spec:
            size = {"patch_size": spec.patch_size, "width": spec.width, "depth": spec.depth, "heads": spec.heads}
            hidden = round(spec.width * spec.mlp_ratio)
            return vit(library, image_size=workload.image_size, channels=channels, hidden=hidden, **size)
        case ResNetSpec(depth=8, width=int(width)):
            return ResNet8(channels=channels, width=width)
        case _:
            return resnet18(channels=channels)


def peer_step(peer: Peer, workload: Workload, precision: str, device: str) -> Callable[[], Any]:
    """A function that does one update of a library's model on a batch at hand."""
    if peer.keeps_memory:
        keep_freed_memory()
    pixels, labels = random_images(workload, workload.batch)
    images = (pixels.float() / 127.5 - 1).to(device)
    if peer.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    model = peer_model(peer.library, workload)
    update = plain_update(model, precision=precision, device=device, channels_last=peer.channels_last)
    return partial(update, images, labels.to(device))
