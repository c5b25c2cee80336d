"""Two that send each other more than a pipe holds, while neither reads."""

import multiprocessing
import threading
import time

from harness.execution.engines import outbox
from harness.execution.engines.outbox import Outbox

LARGE = "x" * 10_000


def test_sending_waits_for_nobody_and_all_arrives_in_order():
    here, there = multiprocessing.Pipe()
    told = Outbox(here)
    for number in range(200):  # ten times what a pipe holds
        told.send((number, LARGE))
    reader = threading.Thread(target=told.close)
    reader.start()
    assert [there.recv() for _ in range(200)] == [(number, LARGE) for number in range(200)]
    reader.join(10)
    assert not reader.is_alive()


def test_what_is_sent_is_what_it_was_then():
    here, there = multiprocessing.Pipe()
    told, numbers = Outbox(here), [1]
    told.send(numbers)
    numbers.append(2)
    assert there.recv() == [1]
    told.close()


def test_an_end_waits_a_while_for_who_does_not_read_and_never_for_who_has_gone(monkeypatch):
    monkeypatch.setattr(outbox, "FLUSH_SECONDS", 0.2)
    for is_there in (True, False):
        here, there = multiprocessing.Pipe()
        told, began = Outbox(here), time.monotonic()
        if not is_there:
            there.close()
        for _ in range(200):
            told.send(LARGE)
        told.close()
        assert time.monotonic() - began < 5
