"""How a command ends: the exit codes and what is said with each."""

import shlex
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

import click
from rich.console import Console

from harness.commands.streams import lost
from harness.execution import StudyInterrupted
from harness.records.files import mendable
from harness.spec import InvalidInput

DEFECT, USER_ERROR, GAPS, INTERRUPTED = 1, 2, 3, 75
"""Exit codes besides 0; see README."""


def carry_out(command: click.Command) -> int:
    """Run a command with the process's arguments; its exit code, after what is to be said about it."""
    from harness.console import error_box

    try:
        with mendable():
            command.main(standalone_mode=False)
    except InvalidInput as error:
        error_box(Console(stderr=True), str(error))
        return USER_ERROR
    except click.ClickException as error:
        error_box(Console(stderr=True), error.format_message())
        return USER_ERROR
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else DEFECT
    except (StudyInterrupted, KeyboardInterrupt, click.Abort):
        program = ["patchbench"] if shutil.which("patchbench") else [sys.executable, "-m", "harness"]
        again = shlex.join([*program, *sys.argv[1:]])
        click.echo(f"Interrupted; nothing is lost. Go on with: {again}", err=True)
        return INTERRUPTED
    except Exception as error:
        from harness.execution.engines.endings import is_short_of_memory, shortage

        if is_short_of_memory(error):
            error_box(Console(stderr=True), shortage(error))
            return USER_ERROR
        log = _keep_traceback()
        traceback.print_exc()
        click.echo(f"This is a defect of patchbench. The traceback is kept in {log}.", err=True)
        return DEFECT
    return 0


def last_words(code: int) -> int:
    """The exit code `code`, unless standard output was to be kept, in a file for one, and could not be."""
    from harness.console import error_box

    sys.stdout.flush()
    error = lost()
    if code or error is None:
        return code
    error_box(
        Console(stderr=True), f"Standard output could not be written: {error.strerror}. What was asked for is done."
    )
    return USER_ERROR


def _keep_traceback() -> Path:
    with tempfile.NamedTemporaryFile("w", prefix="patchbench-", suffix=".log", delete=False) as file:
        file.write(traceback.format_exc())
    return Path(file.name)
