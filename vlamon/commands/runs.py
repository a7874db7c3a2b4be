"""`vlamon runs`: every run of the user that this machine knows of, and how to open it."""

from __future__ import annotations

import dataclasses
import shlex
import socket
import time
from collections.abc import Iterator

import click

from vlamon.moments import local_time
from vlamon.protocol.registry import RunEntry
from vlamon.safe_text import line
from vlamon.sources.jobs import RunLocation, place_of
from vlamon.sources.known_runs import known_runs

SHOWN = 20
"""Runs that are listed without --all."""


@click.command("runs")
@click.option("--all", "every", is_flag=True, help="List runs that are over, however old, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a run.")
def command(every: bool, as_json: bool) -> int:
    """List your runs on this machine and, where the nodes share a home, on the whole cluster.

    Each training keeps itself in $VLAMON_HOME/runs, else in ~/.local/state/vlamon/runs.
    """
    host, now = socket.gethostname(), time.time()
    found = [(entry, place_of(entry, host, now)) for entry in known_runs()]
    found.sort(key=lambda each: each[0].running(host, now), reverse=True)
    hidden = 0
    if not every:
        hidden = len(found)
        found = [each for each in found if each[0].running(host, now) or each[1].journal][:SHOWN]
    if as_json:
        for entry, place in found:
            click.echo(_json(entry, place, entry.running(host, now)), nl=False)
    else:
        for shown in table(found, host, now, hidden):
            click.echo(line(shown))
    return 0


def table(
    found: list[tuple[RunEntry, RunLocation]], host: str, now: float, ended: int = 0
) -> Iterator[str]:
    """The runs as aligned columns; `ended` are known without anything to open."""
    if not found and ended:
        yield f"No run is alive, and of {ended} that ended none kept a journal, as --run-dir does."
        yield "All of them: vlamon runs --all"
        return
    if not found:
        yield "No run is known here. A training is listed once it serves, as with:"
        yield "  vlamon run -- python train.py"
        return
    rows = [("run", "state", "step", "host", "job", "started", "open with")]
    for entry, place in found:
        running = entry.running(host, now)
        state = (entry.state or "running") if running else "ended" if entry.ended else "lost"
        opened = shlex.join(["vlamon", "watch", *place.arguments]) if place.arguments else "–"
        rows.append(
            (
                entry.name,
                state,
                _step(entry, state),
                entry.host,
                entry.array_job or entry.job or "–",
                local_time(entry.started, "%Y-%m-%d %H:%M") or "–",
                opened,
            )
        )
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()


def _step(entry: RunEntry, state: str) -> str:
    """The step that the list knows: a training that was killed may have come a minute further."""
    if entry.step is None:
        return "–"
    total = f"/{entry.total_steps:,}" if entry.total_steps else ""
    return f"{'≥ ' if state == 'lost' else ''}{entry.step:,}{total}"


def _json(entry: RunEntry, place: RunLocation, running: bool) -> str:
    from vlamon.views.json_lines import json_bytes

    opened = ["vlamon", "watch", *place.arguments] if place.arguments else None
    fields = dataclasses.asdict(entry) | {"running": running, "open": opened}
    return json_bytes({"kind": "run", **fields}).decode()
