"""`vlamon watchdog`: a message when a training was killed or hangs, from outside its process."""

from __future__ import annotations

import os
import socket as sockets
import time

import click

from vlamon.records import RunInfo
from vlamon.safe_text import line

TICK = 1.0
"""Seconds between two looks at the clock."""


@click.command("watchdog")
@click.argument("run", required=False, type=click.Path())
@click.option("--socket", metavar="PATH", help="The training's socket.")
@click.option("--ssh", metavar="HOST:SOCKET", help="A socket on another machine, through ssh.")
@click.option("--job", metavar="ID", help="The training of a cluster's job, on whatever node.")
@click.option("--on-alert", metavar="CMD", help="Run this for each alert, JSON on its stdin.")
@click.option("--all", "every_event", is_flag=True, help="Report explosions and other events too.")
@click.option(
    "--silent-after",
    metavar="SECONDS",
    type=click.FloatRange(min=1.0),
    default=120.0,
    help="Shortest silence that calls (at least 20 typical steps).",
)
@click.option("--forever", is_flag=True, help="Go on after the end: the run may be requeued.")
def command(
    run: str | None,
    socket: str | None,
    ssh: str | None,
    job: str | None,
    on_alert: str | None,
    every_event: bool,
    silent_after: float,
    forever: bool,
) -> int:
    """Send a message when a training is gone or silent, over the channels of `vlamon alert`.

    RUN is a run directory or its run.vlaj. It ends with the training: 0 after a good end, 1 where
    the process is gone or failed.
    """
    from vlamon.alerts.sender import AlertSender
    from vlamon.alerts.settings import channels_needed, load_settings, outbox_directory
    from vlamon.alerts.watchdog import Watchdog
    from vlamon.commands.watch import source_of

    settings = channels_needed(load_settings(on_alert))
    source = source_of(run, socket, ssh, job)
    dog = Watchdog(process_lives, sockets.gethostname(), every_event, silent_after)
    sender = AlertSender(settings.channels, outbox_directory(), settings.language, _complain)
    channels, began, announced = ", ".join(settings.channels), time.time(), ""
    try:
        while forever or not dog.over:
            records = source.read(TICK)
            now, wall = time.monotonic(), time.time()
            for alert in [*dog.observe(records, now, wall), *dog.check(now, wall)]:
                if alert.time >= began - silent_after:  # reading a history sends no alerts
                    click.echo(f"vlamon: {line(alert.kind)}: {line(alert.text)}", err=True)
                    sender.put(alert)
            if announced != (announced := dog.info.boot):
                _complain(f"watching {_named(dog.info)}; alerts go to {channels}")
            if source.finished:
                break
    finally:
        source.close()
        sender.close()
    if dog.over:
        _complain(f"{dog.info.name} {'is gone or failed' if dog.failed else 'ended'}")
    return 1 if dog.failed else 0


def _named(info: RunInfo) -> str:
    """A run as a person knows it."""
    process = f" (pid {info.pid} on {info.host})" if info.pid else ""
    return f"{info.name or 'a run without a name'}{process}"


def process_lives(pid: int) -> bool | None:
    """Whether a process of this host lives; a zombie has ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False
    except OSError:
        return None


def _complain(text: str) -> None:
    click.echo(f"vlamon: {line(text)}", err=True)
