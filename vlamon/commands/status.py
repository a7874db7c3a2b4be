"""`vlamon status`: what a training does right now, in a line or as JSON."""

from __future__ import annotations

import time
from typing import Any

import click

from vlamon.records import RunInfo, Status
from vlamon.safe_text import line as one_line
from vlamon.sources.brief_connection import BriefConnection

SETTLE = 2.0
"""Seconds that status and newest values may take after the greeting; only a training that has
reported nothing yet, or whose machine is busy beyond measure, takes them."""
INTERVALS = 10
"""So many usual steps without news are silence."""
LEAST_SILENCE, LEAST_SILENCE_REMOTE = 5.0, 30.0
"""Seconds below which nothing is; another machine's clock may be off by a few."""
SHOWN = ("closs", "loss_ct", "z_loss", "loss")


@click.command()
@click.option("--socket", metavar="PATH", help="The training's socket; found where there is one.")
@click.option("--ssh", metavar="HOST:SOCKET", help="A socket on another machine, through ssh.")
@click.option("--job", metavar="ID", help="The training of a cluster's job, on whatever node.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, see docs/json.md.")
@click.option("--timeout", default=5.0, show_default=True, help="Seconds to wait for an answer.")
def command(
    socket: str | None, ssh: str | None, job: str | None, as_json: bool, timeout: float
) -> int:
    """Say in a line what a training does right now.

    Exit codes: 0 said, 2 usage, 3 no trainer, 4 the trainer did not answer in time.
    """
    with BriefConnection(socket, ssh, job) as connection:
        info = connection.greet(timeout)
        connection.settle(min(timeout, SETTLE))
        status, latest = connection.status, dict(connection.source.latest)
    quiet = silence(status, time.time(), LEAST_SILENCE_REMOTE if ssh or job else LEAST_SILENCE)
    if as_json:
        click.echo(as_line(info, status, latest, quiet))
    else:
        click.echo(sentence(info, status, latest, quiet))
    return 0


def silence(status: Status | None, now: float, least: float) -> float | None:
    """Seconds without news of a training that neither ended nor was paused; None where it is
    alive. One stopped rank holds all of them in a collective, and nothing else says so."""
    if status is None or status.state != "training" or not status.time:
        return None
    speed = status.steps_per_second
    limit = max(least, INTERVALS / speed) if speed else LEAST_SILENCE_REMOTE
    quiet = now - status.time
    return quiet if quiet > limit else None


def as_line(
    info: RunInfo, status: Status | None, latest: dict[str, float], quiet: float | None
) -> str:
    """The JSON object: the status line of docs/json.md with the run and the newest values."""
    from vlamon.views.json_lines import json_bytes, json_objects, number

    (run,) = json_objects(info)
    line: dict[str, Any] = {"kind": "status", "state": None, "step": None}
    if status is not None:
        (line,) = json_objects(status)
    line["run"] = {key: value for key, value in run.items() if key != "kind"}
    line["silent_for"] = quiet
    line["metrics"] = {name: number(value) for name, value in latest.items()}
    return json_bytes(line).decode().rstrip()


def sentence(
    info: RunInfo, status: Status | None, latest: dict[str, float], quiet: float | None
) -> str:
    """The line for a person."""
    from vlamon.views.plain_lines import number_text

    parts = [info.name]
    if status is None:
        parts.append("started, nothing reported yet")
    else:
        total = f"/{info.total_steps:,}" if info.total_steps else ""
        phase = f" in {status.phase}" if status.phase else ""
        state = status.state if quiet is None else f"silent for {duration(quiet)}{phase}"
        parts += [state, f"step {status.step:,}{total}"]
        if status.epoch is not None:
            parts.append(f"epoch {status.epoch:.4g}")
        if status.steps_per_second:
            parts.append(f"{status.steps_per_second:.3g} it/s")
        if status.eta is not None and quiet is None:
            parts.append(f"eta {duration(status.eta)}")
        if status.guard:
            budget = "" if status.budget is None else f" ({status.budget} rollbacks left)"
            parts.append(f"guard {status.guard}{budget}")
    parts += [f"{name} {number_text(latest[name])}" for name in SHOWN if name in latest]
    return one_line("  ".join(parts))


def duration(seconds: float) -> str:
    """`20:52`, `3:20:52`, `2d 3:20:52`."""
    minutes, second = divmod(max(int(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour}:{minute:02}:{second:02}"
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
