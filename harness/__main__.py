"""The command line: joins the verbs of `harness.commands`; how a command ends, with its exit code and what is said."""

import io
import os
import shlex
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from rich.console import Console

from harness.commands import machine, results, studies, takeaway_verbs
from harness.commands.options import DEFECT, INTERRUPTED, USER_ERROR
from harness.console import tell_error
from harness.execution.stopping import StudyInterrupted, interruptible
from harness.records.files import mendable
from harness.records.layout import default_results
from harness.spec import InvalidInput

if TYPE_CHECKING:
    from typing_extensions import Buffer


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    default=default_results,
    show_default="results",
    help="Folder of all results (or PATCHBENCH_RESULTS).",
)
@click.version_option(package_name="patchbench", prog_name="patchbench")
@click.pass_context
def cli(context: click.Context, folder: Path) -> None:
    """Benchmark and ablate vision transformers against a ResNet baseline."""
    context.obj = folder.absolute()


for verb in (
    *(studies.list_, studies.show, studies.plan, studies.run, studies.run_all, studies.status),
    *(
        results.report,
        results.verify,
        results.compare,
        results.headline,
        results.load,
        results.look,
        results.sync,
        results.ui,
    ),
    *(takeaway_verbs.table, takeaway_verbs.figures),
    *(machine.doctor, machine.bench, machine.data),
):
    cli.add_command(verb)


def main() -> NoReturn:
    """Run the command line and exit with the contract's code."""
    os.environ.pop("MPLBACKEND", None)  # figures go to files; with a name that matplotlib lacks its import would fail
    program = sys.modules["__main__"]
    if getattr(program, "main", None) is main:  # else it is somebody's script, whose functions its workers may need
        # By these multiprocessing would load this module, with all verbs, in the process of each run.
        program.__spec__ = None
        vars(program).pop("__file__", None)
    harden()
    sys.exit(carry_out(cli))


def carry_out(command: click.Command) -> int:
    """Run a command with the process's arguments; its exit code, after what is to be said about it."""
    try:
        with mendable(), interruptible():
            command.main(standalone_mode=False)
    except InvalidInput as error:
        return _refused(str(error))
    except click.ClickException as error:
        return _refused(error.format_message())
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else DEFECT
    except (StudyInterrupted, KeyboardInterrupt, click.Abort):
        click.echo(f"Interrupted; nothing is lost. Go on with: {_again()}", err=True)
        return INTERRUPTED
    except Exception as error:
        from harness.execution.process import shortage

        if told := shortage(error):
            return _refused(told)
        with tempfile.NamedTemporaryFile("w", prefix="patchbench-", suffix=".log", delete=False) as file:
            file.write(traceback.format_exc())
        traceback.print_exc()
        click.echo(f"This is a defect of patchbench. The traceback is kept in {file.name}.", err=True)
        return DEFECT
    sys.stdout.flush()
    lost = getattr(getattr(getattr(sys.stdout, "buffer", None), "raw", None), "error", None)
    if lost is None or isinstance(lost, BrokenPipeError):  # its reader has had enough: `| head`
        return 0
    return _refused(f"Standard output could not be written: {lost.strerror}. What was asked for is done.")


def _again() -> str:
    """This command, for another shell too: with the folder of results that the environment names."""
    typed = studies.as_typed(default_results())
    if shutil.which("patchbench"):
        return typed
    return shlex.join([sys.executable, "-m", "harness"]) + typed.removeprefix("patchbench")


def _refused(text: str) -> int:
    tell_error(Console(stderr=True), text)
    return USER_ERROR


def harden() -> None:
    """Make standard output and error write all texts, signs that they lack escaped, whether anybody reads them or not.

    Where they are closed, /dev/null stands in their place. Streams that a program has put there are left alone.
    """
    for number in (0, 1, 2):  # else the next file that is opened, a record perhaps, would get what programs print
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):
            encoding = "utf-8" if stream is None else stream.encoding
            if stream is not None:
                stream.flush()
            written = io.BufferedWriter(_Output(number, "w", closefd=False))
            setattr(sys, name, io.TextIOWrapper(written, encoding, errors="backslashreplace", line_buffering=True))


class _Output(io.FileIO):
    """A descriptor to write to; from the first error on, what is written is lost and nobody is told."""

    error: OSError | None = None

    def write(self, content: "Buffer") -> int:
        if self.error is None:
            try:
                return super().write(content)
            except OSError as error:
                self.error = error
        return memoryview(content).nbytes


if __name__ == "__main__":
    main()
