"""The journal of one training: a JSON object per line, appended as things happen."""

import json
import os
import time
from pathlib import Path
from typing import Any

from harness.records import failpoints
from harness.records.files import RecordsError, open_to_append, parse_json, read_bytes, writing

Event = dict[str, Any]
"""`event` (started, evaluated, checkpointed, finished, ...), `time` (ms since 1970) and the event's own fields."""


class Journal:
    """Appends events to a file; a torn last line, left by a kill, is cut off when the journal is opened again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_to_append(path)
        self.rewind(len(whole_lines(read_bytes(path))))

    def append(self, event: str, **fields: Any) -> Event:
        """Write one event with the present time; returns it."""
        entry: Event = {"event": event, "time": time.time_ns() // 1_000_000, **fields}
        line = json.dumps(entry, allow_nan=False).encode() + b"\n"
        before = self.length
        half = len(line) // 2 if failpoints.active() else len(line)
        with writing(self.path):
            try:
                self._write(line[:half])
                failpoints.reached(f"half a line of {event}", self.path)
                self._write(line[half:])
            except OSError:
                self._file.truncate(before)
                raise
        failpoints.reached(f"a line of {event}", self.path)
        return entry

    def _write(self, rest: bytes) -> None:
        while rest:  # a full disk takes a part of a line before it refuses
            rest = rest[self._file.write(rest) :]

    @property
    def length(self) -> int:
        """Bytes written so far; a checkpoint keeps it, and `rewind` goes back to it."""
        return os.fstat(self._file.fileno()).st_size

    def rewind(self, length: int) -> None:
        """Forget what was written after a checkpoint was taken at `length` bytes."""
        self._file.truncate(length)

    def close(self) -> None:
        self._file.close()


def read_journal(path: Path) -> list[Event]:
    """All whole events of a journal; an unreadable line in the middle is a `RecordsError`."""
    events = [_event(line) for line in whole_lines(read_bytes(path)).splitlines()] if path.exists() else []
    if None in events:
        raise RecordsError(f"{path}, line {events.index(None) + 1} is not an event.")
    return [event for event in events if event is not None]


def whole_lines(content: bytes) -> bytes:
    """`content` without a torn last line: one with no newline, or one that is empty or not an event."""
    whole = content[: content.rfind(b"\n") + 1]
    last = whole[:-1].rpartition(b"\n")[2]
    return whole if not whole or _event(last) is not None else whole[: -len(last) - 1]


def _event(line: bytes) -> Event | None:
    try:
        event = parse_json(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None
