"""Sends the monitors what the training does now, and which snapshots it can return to."""

from __future__ import annotations

import time

from vlamon.guard.ledger import Ledger
from vlamon.guard.reporting import Reporter
from vlamon.guard.snapshots import Snapshots


class StatusReporter:
    """Sends the status; between two commands a paused training still reads as paused."""

    def __init__(self, reporter: Reporter, snapshots: Snapshots, ledger: Ledger) -> None:
        self._reporter = reporter
        self._snapshots = snapshots
        self._ledger = ledger
        self._state = "training"
        self._deadline: float | None = None

    def enter(self, state: str, deadline: float | None = None) -> None:
        """Set what the training does from now on; `deadline` is on the monotonic clock."""
        self._state, self._deadline = state, deadline
        self.refresh()

    def during(self, state: str) -> None:
        """Show this state until the next `refresh`."""
        self._send(state)

    def refresh(self) -> None:
        """Send what the training does, with the snapshots as they are now."""
        self._send(self._state)

    def _send(self, state: str) -> None:
        if self._reporter.emitter is None:
            return
        wall = None
        if state == self._state and self._deadline is not None:
            wall = time.time() + self._deadline - time.monotonic()
        self._reporter.status(
            state=state,
            snapshots=self._snapshots.on_hand(),
            budget=self._ledger.budget_left,
            guard=self._ledger.mode,
            deadline=wall,
        )
