"""The command line: joins the verbs of `harness.commands` and exits with their codes."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from harness.commands import machine, results, studies
from harness.commands.exits import carry_out, harden
from harness.records.layout import default_results


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
    *(studies.list_, studies.show, studies.plan, studies.run, studies.status),
    *(results.report, results.verify, results.compare, results.load, results.sync, results.ui),
    *(machine.doctor, machine.bench, machine.data),
):
    cli.add_command(verb)


def main() -> NoReturn:
    """Run the command line and exit with the contract's code."""
    os.environ.pop("MPLBACKEND", None)  # figures go to files; with a name that matplotlib lacks its import would fail
    harden()
    sys.exit(carry_out(cli))


if __name__ == "__main__":
    main()
