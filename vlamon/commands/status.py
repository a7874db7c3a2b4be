"""`vlamon status`: what a training does right now, in a line or as JSON."""

from __future__ import annotations

import time
from typing import Any

import click

from vlamon.records import Record, RunInfo, Status
from vlamon.safe_text import line as one_line
from vlamon.sources.talking import Talk

SETTLE = 2.0
"""Seconds that status and newest values may take after the greeting; only a training that has
reported nothing yet, or whose machine is busy beyond measure, takes them."""
SHOWN = ("closs", "loss_ct", "z_loss", "loss")


@click.command()
@click.option("--socket", metavar="PATH", help="The training's socket; found where there is one.")
@click.option("--ssh", metavar="HOST:SOCKET", help="A socket on another machine, through ssh.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, see docs/json.md.")
@click.option("--timeout", default=5.0, show_default=True, help="Seconds to wait for an answer.")
def command(socket: str | None, ssh: str | None, as_json: bool, timeout: float) -> int:
    """Say in a line what a training does right now.

    Exit codes: 0 said, 2 usage, 3 no trainer, 4 the trainer did not answer in time.
    """
    with Talk(socket, ssh) as talk:
        info = talk.greet(timeout)

        def settled(_: Record) -> bool | None:
            return True if talk.status is not None and talk.source.latest else None

        talk.wait(settled, min(timeout, SETTLE))
        status, latest = talk.status, dict(talk.source.latest)
    if as_json:
        click.echo(as_line(info, status, latest))
    else:
        click.echo(sentence(info, status, latest, time.time()))
    return 0


def as_line(info: RunInfo, status: Status | None, latest: dict[str, float]) -> str:
    """The JSON object: the status line of docs/json.md with the run and the newest values."""
    from vlamon.views.json_lines import json_bytes, json_objects, number

    (run,) = json_objects(info)
    line: dict[str, Any] = {"kind": "status", "state": None, "step": None}
    if status is not None:
        (line,) = json_objects(status)
    line["run"] = {key: value for key, value in run.items() if key != "kind"}
    line["metrics"] = {name: number(value) for name, value in latest.items()}
    return json_bytes(line).decode().rstrip()


def sentence(info: RunInfo, status: Status | None, latest: dict[str, float], now: float) -> str:
    """The line for a person."""
    from vlamon.views.plain_lines import number_text

    parts = [info.name]
    if status is None:
        parts.append("started, nothing reported yet")
    else:
        total = f"/{info.total_steps:,}" if info.total_steps else ""
        parts += [status.state, f"step {status.step:,}{total}"]
        if status.epoch is not None:
            parts.append(f"epoch {status.epoch:.4g}")
        if status.steps_per_second:
            parts.append(f"{status.steps_per_second:.3g} it/s")
        if status.eta is not None:
            parts.append(f"eta {duration(status.eta)}")
        if status.state == "training" and status.time and now - status.time > 30:
            parts.append(f"silent for {duration(now - status.time)}")
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
