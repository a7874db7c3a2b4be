"""Events into a tracker that is there, one that is not, and one that hangs or fails."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.vlamon.emitter.emitted import journal_of, rows_of
from vlamon import Emitter
from vlamon.emitter import annotating
from vlamon.records import Event


class Run:
    """W&B's run, as far as it is used."""

    def __init__(self, fault: BaseException | None = None) -> None:
        self.logged: list[tuple[dict[str, Any], dict[str, Any]]] = []
        self.alerts: list[tuple[Any, ...]] = []
        self.fault = fault
        self.release = threading.Event()
        self.release.set()

    def log(self, data: dict[str, Any], **given: Any) -> None:
        self.release.wait(60)
        if self.fault is not None:
            raise self.fault
        self.logged.append((data, given))

    def alert(self, *given: Any, **_: Any) -> None:
        self.alerts.append(given)


def train(folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of three rows and three events."""
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=run))
    monkeypatch.setitem(sys.modules, "swanlab", None)
    with Emitter(None, run_dir=folder, annotate=True) as emitter:
        emitter.log(1, closs=2.0)
        emitter.event("explode", 2, text="8.6× the median", value=17.2)
        emitter.event("note", 2, text="nobody's business")
        emitter.event("rollback", 2, text="back to 1", to=1)
        emitter.log(2, closs=2.0)
        emitter.log(3, closs=2.0)
    assert [step for step, _ in rows_of(journal_of(folder))] == [1, 2, 3]


def test_an_event_is_cells_of_the_open_row_and_an_alert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run()
    train(tmp_path, run, monkeypatch)
    (exploded, how), (back, _) = run.logged
    assert how == {"commit": False}, "the script's own steps must not move"
    assert exploded["vlamon/explode"] == 17.2
    assert (back["vlamon/rollback"], back["vlamon/event_step"]) == (1.0, 2.0)
    assert back["vlamon/event"] == "rollback: back to 1"
    assert [alert[0] for alert in run.alerts] == [
        "vlamon: explode at step 2", "vlamon: rollback at step 2",
    ]  # fmt: skip


@pytest.mark.parametrize("run", [None, Run(RuntimeError("no network"))])
def test_a_tracker_that_fails_or_is_not_there_is_said_once(
    run: Run | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=run))
    monkeypatch.setitem(sys.modules, "swanlab", None)
    said: list[str] = []
    writing = annotating.Annotating(said.append)
    for number in range(3):
        writing.observe(Event(f"b-{number}", "explode", 1, 0, 0.0, "error", "NaN", {}))
    writing.close()
    (only,) = said
    assert only.endswith("no network" if run else "neither W&B nor SwanLab has a run open here")


def test_a_tracker_that_hangs_holds_up_neither_log_nor_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(annotating, "LAST_CHANCE", 0.2)
    run = Run()
    run.release.clear()
    thread = threading.Thread(target=lambda: train(tmp_path, run, monkeypatch))
    thread.start()
    thread.join(30)
    hung = thread.is_alive()
    run.release.set()
    assert not hung
