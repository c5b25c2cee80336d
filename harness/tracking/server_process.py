"""`mlflow server` as a process that ends, with all of its own, when the process that started it is gone."""

import os
import signal
import sys
import threading


def _end_with_parent() -> None:
    """The parent holds the other end of standard input and never writes; the end of the pipe is the parent's end."""
    os.read(sys.stdin.fileno(), 1)
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from mlflow.cli import cli

    cli(["server", *sys.argv[1:]])
