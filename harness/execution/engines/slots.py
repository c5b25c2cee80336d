"""Which devices a run gets, of those there are; and how a process is shown its own.

A *slot* is what one run gets: a tuple of devices by the names that the user knows, `("cuda:2",)` or, for a run over
several cards, `("cuda:0", "cuda:1")`. On a processor all slots are `("cpu",)`. An engine that chooses the devices
itself keeps a `Room` and asks `assign`; a process that trains on cards calls `show_only` before CUDA starts there, and
finds them as cuda:0, cuda:1, ... in the order of its slot, whatever the user calls them.
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

VISIBLE = "CUDA_VISIBLE_DEVICES"  # read by the driver when CUDA starts in a process

Slot = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Room:
    """Room for runs on `devices`."""

    devices: tuple[str, ...]
    per_device: int = 1  # runs that share a device
    per_run: int = 1  # devices of each run
    most: int | None = None  # runs in all; None for as many as there is room for

    def capacity(self, aside: Collection[str] = ()) -> int:
        """Runs at the same time without the devices set aside; 0 where fewer are left than a run needs."""
        left = len(set(self.devices) - set(aside))
        places = left * self.per_device // self.per_run if left >= self.per_run else 0
        return places if self.most is None else min(places, self.most)


def assign(
    room: Room, busy: Iterable[Slot], aside: Collection[str], pending: Mapping[str, Collection[str]]
) -> dict[str, Slot]:
    """The slots of those pending runs that can begin now, the first ones first, each on the least busy devices.

    `busy`: the slots of the runs under way; `aside`: devices that get no run; `pending`: by digest, the devices on
    which a run has failed. It goes elsewhere, even if it has to wait for that, unless too few other devices are left.
    """
    under_way, found = list(busy), dict[str, Slot]()
    load = Counter(device for slot in under_way for device in slot)
    usable = [device for device in room.devices if device not in aside]
    for digest, failed_on in pending.items():
        if room.most is not None and len(under_way) + len(found) >= room.most:
            break
        others = [device for device in usable if device not in failed_on]
        allowed = others if len(others) >= room.per_run else usable
        free = sorted((device for device in allowed if load[device] < room.per_device), key=load.__getitem__)
        if len(free) >= room.per_run:
            found[digest] = tuple(sorted(free[: room.per_run], key=room.devices.index))
            load.update(found[digest])
    return found


def show_only(slot: Sequence[str]) -> None:
    """Have CUDA, which must not have started in this process, see the cards of a slot alone: as cuda:0, cuda:1, ...

    Numbers count within the cards that this process was shown before, as torch counts them. Nothing on other devices.
    """
    numbers = [int(number) for device in slot if (number := device.partition(":")[2])]
    if numbers:
        shown = os.environ.get(VISIBLE)
        names = None if shown is None else [name.strip() for name in shown.split(",")]
        os.environ[VISIBLE] = ",".join(str(number) if names is None else names[number] for number in numbers)
