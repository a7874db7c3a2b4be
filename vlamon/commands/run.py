"""`vlamon run -- python train.py …`: a training becomes visible without an edit.

The command takes vlamon's place in the same process, so signals, terminal, standard streams and the
exit code are its own. The tap comes through the environment: a sitecustomize on PYTHONPATH.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import click

import vlamon
from vlamon.errors import VlamonError
from vlamon.taps.options import VARIABLE, TapOptions


class CommandNotFound(VlamonError):
    """The command to run does not exist; the exit code is a shell's."""

    exit_code = 127


@click.command("run", context_settings={"ignore_unknown_options": True})
@click.option("--socket", "path", metavar="PATH", default="auto", help="Serve here.")
@click.option("--run-dir", metavar="DIR", help="Keep the journal here, besides serving.")
@click.option("--name", "run", metavar="NAME", default="", help="What the run is called.")
@click.option(
    "--weight",
    "weights",
    metavar="LOSS=W",
    multiple=True,
    help="A trained loss and its weight in the total, for shares; may be given several times.",
)
@click.option(
    "--guard",
    type=click.Choice(["off", "watch"]),
    default="off",
    help="`watch` reports explosions into the journal and on stderr though no monitor is there.",
)
@click.option("--alerts", is_flag=True, help="Send alerts over the channels of `vlamon alert`.")
@click.option("--on-alert", metavar="CMD", help="Run this for each alert, JSON on its stdin.")
@click.option("--annotate", is_flag=True, help="Write events into the script's W&B or SwanLab run.")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
def command(
    path: str,
    run_dir: str | None,
    run: str,
    weights: tuple[str, ...],
    guard: str,
    alerts: bool,
    on_alert: str | None,
    annotate: bool,
    argv: tuple[str, ...],
) -> NoReturn:
    """Run a training and make visible what it hands to its trackers.

    Put it before what you type today, launchers included:

      vlamon run -- python train.py --lr 1e-5

      vlamon run --weight closs=1 --weight loss_ct=10 -- torchrun --nproc-per-node 8 train.py
    """
    program = shutil.which(argv[0])
    if program is None:
        raise CommandNotFound(f"no command {argv[0]!r}: check its name and PATH")
    folder = None if run_dir is None else str(Path(run_dir).absolute())
    place = path if path == "auto" else str(Path(path).absolute())
    alerted = on_alert or alerts or None
    watch = guard == "watch"
    named = dict(map(_weight, weights))
    options = TapOptions(place, run, folder, named, alerted, watch, annotate)
    environment = {
        **os.environ,
        VARIABLE: options.as_text(),
        "PYTHONPATH": os.pathsep.join(_python_path()),
    }
    if sys.stderr.isatty():  # a log of the script stays as it would be
        kept = "" if run_dir else " (--run-dir DIR keeps it for afterwards)"
        click.echo(f"vlamon: `vlamon watch` in another terminal shows this run{kept}", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvpe(program, list(argv), environment)


def _python_path() -> list[str]:
    """The start-up hook first; vlamon itself too where it is not installed."""
    package = Path(vlamon.__file__).parent
    there = [str(package / "taps" / "startup")]
    given = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if "site-packages" not in package.parts and str(package.parent) not in given:
        given.append(str(package.parent))
    return there + given


def _weight(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        if not name or not equals:
            raise ValueError
        return name.strip(), float(number)
    except ValueError:
        raise click.UsageError(f"--weight {text!r} is not NAME=NUMBER, such as closs=1") from None
