"""The questions, by name: the same for `vlamon query` and `vlamon mcp`.

Each takes plain arguments and returns plain objects, or raises a VlamonError whose sentence is the
answer. A docstring is what an agent reads before it asks.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from vlamon.agents import answers
from vlamon.agents.reading import Run, read_run
from vlamon.agents.where import find_run

Answer = dict[str, Any]
SETTLE = 2.0
"""Seconds that status and newest values of a live training may take after its greeting."""


def runs() -> Answer:
    """List the user's runs on this machine and, where nodes share a home, on the cluster."""
    from vlamon.sources.known_runs import known_runs

    host, now = socket.gethostname(), time.time()
    found = [asdict(entry) | {"running": entry.running(host, now)} for entry in known_runs()]
    found.sort(key=lambda entry: bool(entry["running"]), reverse=True)
    shown = found[: answers.LISTED]
    return {"runs": shown, "left_out": len(found) - len(shown)}


def status(run: str = "") -> Answer:
    """Say what a training does now: state, step, speed, time left, newest values.

    `run` is a run directory, journal, log, socket, HOST:SOCKET, job number, or a name that `runs`
    lists; empty for the one training that runs here. `seconds_since_last_report` above a few
    typical steps means that it hangs. A run that is over is read from its files.
    """
    where = find_run(run)
    if not where.live:
        return {"running": False, **answers.last_known(read_run(where).store)}
    from vlamon.sources.brief_connection import BriefConnection

    with BriefConnection(where.socket, where.ssh) as connection:
        info = connection.greet(5.0)
        connection.settle(SETTLE)
        newest, latest = connection.status, dict(connection.source.latest)
    quiet = None if newest is None or newest.time is None else round(time.time() - newest.time, 1)
    return {
        "running": True,
        "run": answers.identity(info),
        "status": None if newest is None else asdict(newest),
        "seconds_since_last_report": quiet,
        "metrics": latest,
    }


def metrics(
    run: str = "",
    names: list[str] | None = None,
    first_step: int | None = None,
    last_step: int | None = None,
    points: int = answers.POINTS,
) -> Answer:
    """Curves of a run within a budget of points, over all metrics together (at most 5000).

    Each point is a stretch of steps: first_step, last_step, mean, low, high, rows, and whether a
    value was not finite. Steps that a rollback left are in it. Without names: the most important
    metrics. Narrow the steps to see more; `around_step` gives each batch.
    """
    store = _read(run).store
    return answers.metrics(store, names or (), first_step, last_step, points)


def around_step(
    step: int,
    run: str = "",
    radius: int = 5,
    names: list[str] | None = None,
    attempt: int | None = None,
) -> Answer:
    """Each batch around a step (radius at most 100) with all its values, and the events there.

    `attempt` chooses among the tries of a step that a rollback repeated; the newest by default.
    """
    return answers.around_step(_read(run).store, step, radius, names or (), attempt)


def events(
    run: str = "",
    kinds: list[str] | None = None,
    since_step: int | None = None,
    limit: int = answers.LISTED,
) -> Answer:
    """What happened: explosions, rollbacks, autopsies, checkpoints, commands, warnings, the end.

    Kinds are explode, warn, rollback, recovered, autopsy, checkpoint, control, paused, resumed,
    note, trainer_error and end.
    """
    return answers.events(_read(run).store, kinds or (), since_step, limit)


def diagnose(run: str = "", language: str = "en") -> Answer:
    """Judge a run: verdict, anomalies, convergence, shares, likely causes, what to do."""
    from vlamon.analysis.evidence import gather
    from vlamon.report import compile_report
    from vlamon.report.json import objects

    found = _read(run)
    orders = [order for log in found.logs for order in log.orders]
    end = next((log.end for log in found.logs if log.end is not None), None)
    printed = [setting for log in found.logs for setting in log.printed]
    report = objects(
        compile_report(gather(found.records, None, orders, end, printed), (), language)
    )
    for name in ("epochs", "anomalies", "events"):
        report[name], left = report[name][-answers.LISTED :], len(report[name]) - answers.LISTED
        report[f"{name}_left_out"] = max(0, left)
    return report


def explain(metric: str, language: str = "en") -> Answer:
    """A metric's meaning, formula, range, random guess and what to do about it (en or zh)."""
    return answers.explain(metric, language)


def compare(run_a: str, run_b: str, tolerance: float = 1e-9) -> Answer:
    """Find where two runs diverge, and which term first."""
    from vlamon.analysis.compare import compare as compared
    from vlamon.analysis.evidence import gather
    from vlamon.report.difference import difference_object

    sides = [gather(read_run(find_run(given)).records) for given in (run_a, run_b)]
    return difference_object((run_a, run_b), compared(sides[0], sides[1], tolerance))


QUESTIONS: Mapping[str, Callable[..., Answer]] = {
    "runs": runs,
    "status": status,
    "metrics": metrics,
    "around_step": around_step,
    "events": events,
    "diagnose": diagnose,
    "explain": explain,
    "compare": compare,
}
"""Every question, by name."""


def _read(run: str) -> Run:
    return read_run(find_run(run))
