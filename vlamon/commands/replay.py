"""`vlamon replay run.vlaj`: a journal played as if it happened now."""

from __future__ import annotations

import math
from dataclasses import replace

import click

from vlamon.commands.appearance import appearance
from vlamon.commands.present import mode_for, present
from vlamon.tui.options import Options


class Speed(click.ParamType[float]):
    """A factor above 0, or `max`."""

    name = "factor"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The factor; infinity for `max`."""
        try:
            speed = math.inf if value == "max" else float(str(value).rstrip("x"))
        except ValueError:
            speed = math.nan
        if not speed > 0:
            self.fail(f"{value!r} is neither a factor above 0 nor max", param, ctx)
        return speed


@click.command()
@click.argument("journal", type=click.Path())
@click.option("--speed", type=Speed(), default=1.0, help="10 is ten times as fast; max at once.")
@appearance
def command(journal: str, speed: float, plain: bool, json: bool, options: Options) -> int:
    """Play a journal (run.vlaj, or its directory) at any speed."""
    from vlamon.commands.watch import journal_path
    from vlamon.sources.monitored import Monitored
    from vlamon.sources.replay import ReplaySource

    source = Monitored(ReplaySource(journal_path(journal), speed), options.rules)
    return present(source, mode_for(plain=plain, json=json), replace(options, read_only=True))
