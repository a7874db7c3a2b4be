"""`python -m trainer`, alone or under torchrun."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click

from trainer.config import ConfigError, load, preset_names, stated
from trainer.data.pretokenized import RecordError
from trainer.distributed import DeviceError, depart
from trainer.faults import KINDS, FaultError
from trainer.loop import train
from trainer.model.weights import WeightsError
from trainer.run import Options
from trainer.setup import prepare
from vlamon.emitter import EmitterError
from vlamon.guard.checkpoint.writer import DurableError

USERS_MISTAKES = (
    ConfigError,
    DeviceError,
    FaultError,
    RecordError,
    WeightsError,
    EmitterError,
    DurableError,
)
"""What is said in one sentence, with exit code 2."""


def _induce_help() -> str:
    kinds = "; ".join(f"{name}: {kind.meaning}" for name, kind in KINDS.items())
    return f"A fault at a sample, such as lr_jump@300 (may be repeated). {kinds}."


def options_of(**settings: Any) -> Options:
    """Where and how to train, or a sentence about why not."""
    try:
        return Options(**settings)
    except ValueError as error:
        raise ConfigError(str(error)) from None


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--preset", default="tiny", show_default=True, help="A name or a TOML file.")
@click.option("--socket", help="Unix socket on which monitors are served.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Logs, journal, checkpoints.")
@click.option("--name", default="", help="Name of the run; the run directory's by default.")
@click.option("--steps", type=click.IntRange(min=1), help="Optimizer steps.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of data and weights.")
@click.option("--resume", is_flag=True, help="Continue from the newest durable checkpoint.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@click.option("--induce", multiple=True, metavar="KIND@SAMPLE", help=_induce_help())
@click.option("--weights", type=click.Path(path_type=Path), help="Checkpoint folder to start from.")
@click.option("--max-seconds", type=float, help="Stop cleanly after this many seconds.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--no-emit", is_flag=True, help="No socket and no journal.")
@click.option("--alerts", is_flag=True, help="Send alerts over the channels of `vlamon alert`.")
@click.option("--on-alert", metavar="CMD", help="Run this for each alert, JSON on its stdin.")
@click.option("--list-presets", is_flag=True, help="List the presets and exit.")
def main(
    preset: str,
    socket: str | None,
    run_dir: Path | None,
    name: str,
    steps: int | None,
    seed: int,
    resume: bool,
    overrides: tuple[str, ...],
    induce: tuple[str, ...],
    weights: Path | None,
    max_seconds: float | None,
    device: str,
    no_emit: bool,
    alerts: bool,
    on_alert: str | None,
    list_presets: bool,
) -> None:
    """Train the VLA model on the procedural tabletop and show every batch to any monitor.

    Exit codes: 0 finished or stopped by a command, 1 the training failed, 2 a wrong setting or
    a checkpoint that does not fit it.
    """
    if list_presets:
        click.echo("\n".join(preset_names()))
        return
    if steps is not None:
        overrides = (*overrides, f"loop.steps={steps}")
    try:
        config = load(preset, overrides)
        options = options_of(
            stated=stated(config, overrides),
            run_dir=run_dir or Path("runs") / f"{Path(preset).stem}-{time.strftime('%m%d-%H%M%S')}",
            socket=socket,
            name=name,
            seed=seed,
            resume=resume,
            induce=induce,
            device=device,
            max_seconds=max_seconds,
            emit=not no_emit,
            alerts=on_alert or alerts or None,
            weights=weights,
        )
        run = prepare(config, options)
        with run:
            run.outcome = train(run)
        depart(run.ranks)
    except USERS_MISTAKES as error:
        click.echo(f"trainer: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
