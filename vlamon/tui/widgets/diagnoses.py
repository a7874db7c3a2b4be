"""What analysis and autopsies say about the run, and the states that it can go back to."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Sequence

from vlamon.charts.glyphs import Glyphs
from vlamon.charts.numbers import age, number
from vlamon.charts.rows import Row, shorten
from vlamon.records import Snapshot
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.snapshots import snapshots, step_of
from vlamon.tui.widgets.row_panel import RowPanel, framed

LEAST = 3
"""Lines of a finding that are shown although not all findings fit then."""


class DiagnosesPanel(RowPanel):
    """Findings first, then the snapshots."""

    def key(self, frame: FrameContext) -> Hashable:
        """Return the findings, and what the snapshots' rows depend on."""
        return frame.diagnoses, _snapshots_key(frame)

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return the findings, as much of each as there is room for, and the newest snapshots below
        them; where something is left out the frame says which key shows it."""
        inner, room = width - 2, max(0, height - 2)
        kept = snapshot_rows(frame, inner)
        least = min(len(kept), 5 if room > 15 else 2)
        findings, cut = _findings(frame.diagnoses, inner, room - least)
        below = min(len(kept), max(least, room - len(findings)))
        cut = cut or len(findings) > room - below
        body = [*findings[: room - below], *kept[:below]]
        right: Row = (("d ", "key bold"), ("in full", "muted")) if cut else ()
        return framed((("diagnoses", "title"),), right, body, width, height, frame.glyphs)


def _findings(
    diagnoses: Sequence[tuple[str, str, str]], width: int, room: int
) -> tuple[list[Row], bool]:
    """Write findings with as many lines each as let all of them fit, LEAST at least; tells whether
    one was cut."""
    if not diagnoses:
        return [((" nothing to report", "muted"),)], False
    wrapped = [textwrap.wrap(detail, max(10, width - 4)) for _, _, detail in diagnoses]
    longest = max(len(lines) for lines in wrapped)
    most = longest
    while most > LEAST and sum(1 + min(len(lines), most) for lines in wrapped) > room:
        most -= 1
    rows: list[Row] = []
    for (role, headline, _), lines in zip(diagnoses, wrapped, strict=True):
        rows.append(((shorten(f" {headline}", width), role),))
        shown = lines[:most]
        if len(lines) > most:
            shown[-1] = shorten(f"{shown[-1]} …", width - 4, " …")
        rows += [((f"   {line}", "muted"),) for line in shown]
    return rows, most < longest


def diagnoses_rows(frame: FrameContext, width: int) -> int:
    """Return the rows of all findings in full and all snapshots."""
    inner = width - 2
    details = [textwrap.wrap(detail, max(10, inner - 4)) for _, _, detail in frame.diagnoses]
    return sum(1 + len(lines) for lines in details) + len(snapshot_rows(frame, inner))


class SnapshotsPanel(RowPanel):
    """The states that a rollback can reach, newest first."""

    def key(self, frame: FrameContext) -> Hashable:
        """Return what the rows depend on."""
        return _snapshots_key(frame)

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return one row a snapshot."""
        body = snapshot_rows(frame, width - 2, head=False)
        if not body:
            body = [((" the run offers none", "muted"),)]
        status = frame.store.status
        right: Row = ()
        if status is not None and status.budget is not None:
            right = (("rollbacks left ", "muted"), (str(status.budget), "title"))
        return framed((("snapshots", "title"),), right, body, width, height, frame.glyphs)


def _snapshots_key(frame: FrameContext) -> Hashable:
    """Return the second, too: ages grow, and the batch of a snapshot may come after it."""
    return frame.store.status, len(frame.store.events), int(frame.now)


def snapshot_rows(frame: FrameContext, width: int, head: bool = True) -> list[Row]:
    """Write the snapshots, newest first, under a heading."""
    found = snapshots(frame.store)
    if not found:
        return []
    rows: list[Row] = [((" snapshots", "title"),)] if head else []
    for snapshot in found:
        text = snapshot_words(snapshot, frame.now, frame.glyphs)
        role = "checkpoint" if snapshot.trusted else "muted"
        rows.append(((shorten(f" {text}", width), role),))
    return rows


def snapshot_words(snapshot: Snapshot, now: float, glyphs: Glyphs) -> str:
    """Describe a snapshot: trusted (full mark) or not, step, age, where it is, closs then."""
    mark = glyphs.dot if snapshot.trusted else glyphs.ring
    old = age(now - snapshot.time) if snapshot.time else "–"
    closs = f"closs {number(snapshot.closs, 3)}" if snapshot.closs is not None else ""
    place = "memory" if snapshot.where == "ring" else "disk"
    return f"{mark} {step_of(snapshot):>9}  {old:>6}  {place:<6}  {closs}"
