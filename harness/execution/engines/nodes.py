"""What the nodes of a Ray cluster have, and how many runs there is room for on them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.execution.engines.ray_engine import Asked
from harness.spec import InvalidInput
from harness.spec.formats import counted


@dataclass(kw_only=True)
class Node:
    """A node of the cluster, with what it has for runs."""

    name: str
    address: tuple[str, int]
    cpus: float
    cards: float
    refusal: str = ""
    shares: bool = False
    busy: int = 0  # runs under way


def slots(node: Node, asked: Asked, kind: str, threads: int = 1) -> int:
    """Runs that a node has room for, on its cards or on its processor."""
    if kind == "cuda":
        return int(node.cards) * (asked.per_device or 1) // asked.cards_per_run
    return int(node.cpus) // (threads * asked.cards_per_run)


def card_share(asked: Asked) -> float:
    """Cards that Ray counts for a run: of a part, rounded down to the four digits that it reckons with, so all fit."""
    return asked.cards_per_run * 10_000 // (asked.per_device or 1) / 10_000


def useful_nodes(nodes: Mapping[str, Node], asked: Asked, kind: str, threads: int = 1) -> list[str]:
    """The keys of the nodes that have room for a run; `InvalidInput` where none has, as a run is on one node alone."""
    found = [key for key, node in nodes.items() if slots(node, asked, kind, threads)]
    if not found:
        what = counted(asked.cards_per_run, "card" if kind == "cuda" else "core")
        told = ", ".join(f"{node.name} ({node.cpus:g} cores, {node.cards:g} cards)" for node in nodes.values())
        text = f"No node of the Ray cluster at {asked.address} has {what} for a run: {told or 'there is none'}."
        most = max((int(node.cards if kind == "cuda" else node.cpus) for node in nodes.values()), default=0)
        if asked.cards_per_run > 1 and most:
            text += f" A run is on one node alone: --cards-per-run can be {most} at most."
        raise InvalidInput(text)
    return found


def threads_of_each(nodes: Iterable[Node], asked: Asked, kind: str) -> int:
    """Processor threads of each process that trains, the same on all nodes; one without cards or `workers`."""
    used = [(int(node.cpus), slots(node, asked, kind)) for node in nodes if slots(node, asked, kind)]
    if kind == "cuda":
        each = [cores // (runs * asked.cards_per_run) for cores, runs in used]
    else:  # room for runs of one thread each is shared among those asked for
        room = [runs for _, runs in used]
        each = [*room, sum(room) // min(asked.workers, asked.runs) if asked.workers else 1]
    return max(1, min(each, default=1))
