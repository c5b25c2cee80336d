"""Which devices runs get: whatever is busy or set aside, and whatever has failed where."""

import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.execution.engines.slots import VISIBLE, Room, assign, show_only

CARDS = tuple(f"cuda:{number}" for number in range(5))
cards = st.frozensets(st.sampled_from(CARDS))


@st.composite
def situations(draw: st.DrawFn):
    """A room, the slots that are busy in it, the devices set aside, and the runs that wait with where they failed."""
    devices = CARDS[: draw(st.integers(1, 5))]
    per_run = draw(st.integers(1, len(devices)))
    most = draw(st.none() | st.integers(1, 8))
    room = Room(devices=devices, per_device=draw(st.integers(1, 3)), per_run=per_run, most=most)
    waiting = draw(st.lists(cards, max_size=12))
    pending = {f"run {number}": failed_on for number, failed_on in enumerate(waiting)}
    begun = assign(room, (), (), {f"earlier {number}": () for number in range(draw(st.integers(0, 15)))})
    busy = draw(st.lists(st.sampled_from(list(begun.values())), max_size=len(begun))) if begun else []
    busy = [slot for slot, times in (Counter(busy) & Counter(begun.values())).items() for _ in range(times)]
    return room, busy, draw(cards), pending


@given(situations())
def test_no_device_is_given_away_twice_and_none_that_is_set_aside(situation):
    room, busy, aside, pending = situation
    found = assign(room, busy, aside, pending)
    load = Counter(device for slot in (*busy, *found.values()) for device in slot)
    assert all(number <= room.per_device for number in load.values())
    for slot in found.values():
        assert len(set(slot)) == room.per_run
        assert set(slot) <= set(room.devices) - aside
    assert room.most is None or len(found) + len(busy) <= max(room.most, len(busy))


@given(situations())
def test_a_run_goes_where_it_has_not_failed_while_there_is_such_a_place(situation):
    room, busy, aside, pending = situation
    for digest, slot in assign(room, busy, aside, pending).items():
        if pending[digest] & set(slot):
            assert len(set(room.devices) - aside - pending[digest]) < room.per_run


@given(situations())
def test_nobody_waits_for_a_place_that_is_free_and_the_first_come_first(situation):
    room, busy, aside, pending = situation
    found, before = assign(room, busy, aside, pending), []
    for digest, failed_on in pending.items():
        assert assign(room, (*busy, *before), aside, {digest: failed_on}).get(digest) == found.get(digest)
        before += [found[digest]] if digest in found else []


@given(situations())
def test_as_many_runs_begin_in_an_empty_room_as_it_has_capacity_for(situation):
    room, _, aside, _ = situation
    found = assign(room, (), aside, {f"run {number}": () for number in range(20)})
    assert len(found) == room.capacity(aside)


def test_runs_are_spread_before_they_share():
    room = Room(devices=CARDS[:2], per_device=2)
    found = assign(room, (), (), dict.fromkeys("abcd", ()))
    assert list(found.values()) == [("cuda:0",), ("cuda:1",), ("cuda:0",), ("cuda:1",)]
    assert assign(room, [("cuda:0",)], (), {"a": ()}) == {"a": ("cuda:1",)}


@pytest.mark.parametrize(
    ("slot", "shown_before", "shown"),
    [
        (("cuda:2",), None, "2"),
        (("cuda:1", "cuda:0"), None, "1,0"),
        (("cuda:1",), "4, 6", "6"),
        (("cuda:0",), "GPU-8a5, MIG-1", "GPU-8a5"),
        (("cpu",), "4,6", "4,6"),
        (("mps",), None, None),
    ],
)
def test_a_process_is_shown_its_cards_alone(monkeypatch, slot, shown_before, shown):
    monkeypatch.delenv(VISIBLE, raising=False)
    if shown_before is not None:
        monkeypatch.setenv(VISIBLE, shown_before)
    show_only(slot)
    assert os.environ.get(VISIBLE) == shown
