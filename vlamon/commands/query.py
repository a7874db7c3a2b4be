"""`vlamon query`: the answers that `vlamon mcp` gives to agents, for scripts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

POINTS, LISTED = 200, 50
"""Budgets where none is given."""


def _names(ctx: click.Context, param: click.Parameter, given: str | None) -> list[str] | None:
    """Words separated by commas."""
    if given is None:
        return None
    return [word.strip() for word in given.split(",") if word.strip()]


def _json(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="On one line, without spaces.")(
        command
    )


_run = click.argument("run", required=False, default="")
_lang = click.option("--lang", "language", type=click.Choice(["en", "zh"]), default="en")
_metrics = click.option(
    "--metrics", "names", callback=_names, metavar="A,B", help="These metrics alone."
)


@click.group("query")
def command() -> None:
    """Ask about a run and get JSON: the answers of `vlamon mcp`, within a budget of points.

    RUN is a run directory, journal, log, socket, HOST:SOCKET, job, or a name that `vlamon runs`
    lists; without it, the training that runs here.
    """


@command.command("runs")
@_json
def runs(as_json: bool) -> int:
    """List your runs."""
    return _answer("runs", as_json)


@command.command("status")
@_run
@_json
def status(run: str, as_json: bool) -> int:
    """Say what a training does now."""
    return _answer("status", as_json, run=run)


@command.command("metrics")
@_run
@_metrics
@click.option("--first-step", type=int)
@click.option("--last-step", type=int)
@click.option(
    "--points", type=click.IntRange(1, 5000), default=POINTS, show_default=True, help="Budget."
)
@_json
def metrics(run: str, as_json: bool, **asked: Any) -> int:
    """Curves: mean, least and greatest of stretches of steps."""
    return _answer("metrics", as_json, run=run, **asked)


@command.command("around-step")
@click.argument("step", type=int)
@_run
@click.option("--radius", type=click.IntRange(0, 100), default=5, show_default=True)
@_metrics
@click.option("--attempt", type=int, help="Which try of the step; the newest by default.")
@_json
def around_step(as_json: bool, **asked: Any) -> int:
    """The batches around a step, one by one, and what happened there."""
    return _answer("around_step", as_json, **asked)


@command.command("events")
@_run
@click.option("--kinds", callback=_names, metavar="A,B", help="These kinds alone.")
@click.option("--since-step", type=int)
@click.option("--limit", type=click.IntRange(1, 1000), default=LISTED, show_default=True)
@_json
def events(run: str, as_json: bool, **asked: Any) -> int:
    """What happened in a run."""
    return _answer("events", as_json, run=run, **asked)


@command.command("diagnose")
@_run
@_lang
@_json
def diagnose(run: str, language: str, as_json: bool) -> int:
    """Verdict, anomalies, convergence, likely causes."""
    return _answer("diagnose", as_json, run=run, language=language)


@command.command("explain")
@click.argument("metric")
@_lang
@_json
def explain(metric: str, language: str, as_json: bool) -> int:
    """What a metric means."""
    return _answer("explain", as_json, metric=metric, language=language)


@command.command("compare")
@click.argument("run_a")
@click.argument("run_b")
@click.option("--tolerance", type=click.FloatRange(min=0), default=1e-9, show_default=True)
@_json
def compare(as_json: bool, **asked: Any) -> int:
    """Where two runs diverge, and which term first."""
    return _answer("compare", as_json, **asked)


def _answer(name: str, as_json: bool, **asked: Any) -> int:
    from vlamon.agents.questions import QUESTIONS
    from vlamon.views.json_lines import json_bytes, plain

    answer = plain({"kind": name, **QUESTIONS[name](**asked)})
    click.echo(json_bytes(answer, indent=not as_json).decode(), nl=False)
    return 0
