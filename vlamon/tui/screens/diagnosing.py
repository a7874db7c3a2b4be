"""What is wrong with the run: the guard's verdicts and the rules' findings, brief and in full."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from textual.worker import get_current_worker

from vlamon.charts.numbers import count
from vlamon.charts.rows import Row
from vlamon.tui.dialogs.page import Page
from vlamon.tui.findings import Schedule, look
from vlamon.tui.screens.steering import SteeringScreen

FEW = 10
"""Rows below which the diagnosis has nothing to go by."""
VERDICTS = 3
"""Verdicts of autopsies that the panel has; the page has all."""

Finding = tuple[str, str, str]
"""Role, headline and detail."""


class DiagnosingScreen(SteeringScreen):
    """Looks at the run now and then, and shows what was found."""

    def __init__(self) -> None:
        super().__init__()
        self._schedule = Schedule()
        self._looked = False
        self._found: list[Finding] = []
        self._page: Page | None = None

    def findings(self, verdicts: int | None = VERDICTS) -> tuple[Finding, ...]:
        """Give the guard's verdicts, newest first, what the rules found, and what was lost."""
        self._look_for_findings()
        autopsies = [event for event in reversed(self.store.events) if event.kind == "autopsy"]
        found: list[Finding] = []
        for event in autopsies[:verdicts]:
            verdict = str(event.data.get("verdict", "")) or "autopsy"
            found.append(("warn", f"{verdict} at {count(event.step)}", event.text))
        waits = "have not looked yet" if self.store.rows >= FEW else "need more to look at"
        found += self._found if self._looked else [("muted", f"the rules {waits}", "")]
        lost = sum(gap.rows for gap in self.store.gaps)
        if lost:
            reason = self.store.gaps[-1].reason
            found.append(("muted", f"{count(lost)} batches were not received", reason))
        return tuple(found)

    def _look_for_findings(self) -> None:
        """Let the rules look at the run now and then, while somebody sees what they find."""
        seen = self.arrangement.has("diagnoses") or self._page is not None
        if not seen or self.reading() or self.store.rows < FEW:
            return
        if self._schedule.wanted(self.store.rows, self.dashboard.monotonic()):
            self.run_worker(self._find, thread=True, exclusive=True, group="findings")

    def _find(self) -> None:
        worker = get_current_worker()
        found = list(look(self.store, self.feed.lock, self._schedule))
        if not worker.is_cancelled:
            self._found, self._looked = found, True
            self.app.call_from_thread(self._show_findings)

    def _show_findings(self) -> None:
        self.paint(True)
        if self._page is not None:
            self._page.update()

    def action_diagnoses(self) -> None:
        """Show every diagnosis in full."""

        def write(width: int) -> Sequence[Row]:
            with self.feed.lock:
                return in_full(self.findings(None), width)

        def closed(_: None) -> None:
            self._page = None

        self._page = Page("diagnoses", write)
        self.app.push_screen(self._page, closed)


def in_full(findings: Sequence[Finding], width: int) -> list[Row]:
    """Write findings as paragraphs."""
    rows: list[Row] = []
    for role, headline, detail in findings:
        lines = textwrap.wrap(headline, width - 2) or [""]
        rows += [((f" {line}", f"{role} bold"),) for line in lines]
        rows += [((f"   {line}", "foreground"),) for line in textwrap.wrap(detail, width - 5)]
        rows.append(())
    return rows[:-1]
