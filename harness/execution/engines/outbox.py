"""What is sent through a pipe without waiting for whoever reads it."""

import threading
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from typing import Any

FLUSH_SECONDS = 5.0  # how long the end waits until all is sent


class Outbox:
    """Sends by a thread of its own: of two that both wait until the other reads, neither would read again."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._waiting = pipe, SimpleQueue[Any]()
        self._thread = threading.Thread(target=self._send_all, daemon=True)
        self._thread.start()

    def send(self, what: Any) -> None:
        """Send it as it is now, after what was sent before; returns at once."""
        self._waiting.put(ForkingPickler.dumps(what))

    def close(self) -> None:
        """Wait until all is sent, if somebody reads it."""
        self._waiting.put(None)
        self._thread.join(FLUSH_SECONDS)

    def _send_all(self) -> None:
        while (content := self._waiting.get()) is not None:
            try:
                self._pipe.send_bytes(content)
            except OSError:  # nobody will read it
                return
