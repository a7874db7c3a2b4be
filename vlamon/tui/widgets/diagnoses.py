"""What analysis and autopsies say about the run, and the states that it can go back to."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Sequence

from vlamon.records import Snapshot
from vlamon.tui.glyphs import Glyphs
from vlamon.tui.moment import Moment
from vlamon.tui.numbers import age, count, number
from vlamon.tui.rows import Row, shorten
from vlamon.tui.snapshots import snapshots
from vlamon.tui.widgets.row_panel import RowPanel, framed


class DiagnosesPanel(RowPanel):
    """Findings first, then the snapshots."""

    def key(self, moment: Moment) -> Hashable:
        """Give the findings, and what the snapshots' rows depend on."""
        return moment.diagnoses, _snapshots_key(moment)

    def rows(self, moment: Moment, width: int, height: int) -> Sequence[Row]:
        """Give the findings that fit, wrapped, and the newest snapshots below them."""
        inner, room = width - 2, max(0, height - 2)
        kept = snapshot_rows(moment, inner)
        findings: list[Row] = []
        for role, headline, detail in moment.diagnoses:
            findings.append(((shorten(f" {headline}", inner), role),))
            findings += [((f"   {line}", "muted"),) for line in _wrapped(detail, inner - 4)]
        if not findings:
            findings = [((" nothing to report", "muted"),)]
        least = 5 if room > 15 else 2
        below = min(len(kept), max(least, room - len(findings)))
        body = [*findings[: room - below], *kept[:below]]
        return framed((("diagnoses", "title"),), (), body, width, height, moment.glyphs)


class SnapshotsPanel(RowPanel):
    """The states that a rollback can reach, newest first."""

    def key(self, moment: Moment) -> Hashable:
        """Give what the rows depend on."""
        return _snapshots_key(moment)

    def rows(self, moment: Moment, width: int, height: int) -> Sequence[Row]:
        """Give a row a snapshot."""
        body = snapshot_rows(moment, width - 2, head=False)
        if not body:
            body = [((" the run offers none", "muted"),)]
        status = moment.store.status
        right: Row = ()
        if status is not None and status.budget is not None:
            right = (("rollbacks left ", "muted"), (str(status.budget), "title"))
        return framed((("snapshots", "title"),), right, body, width, height, moment.glyphs)


def _snapshots_key(moment: Moment) -> Hashable:
    """Give the second, too: ages grow, and the batch of a snapshot may come after it."""
    return moment.store.status, len(moment.store.events), int(moment.now)


def snapshot_rows(moment: Moment, width: int, head: bool = True) -> list[Row]:
    """Write the snapshots, newest first, under a heading."""
    found = snapshots(moment.store)
    if not found:
        return []
    rows: list[Row] = [((" snapshots", "title"),)] if head else []
    for snapshot in found:
        text = snapshot_words(snapshot, moment.now, moment.glyphs)
        role = "checkpoint" if snapshot.trusted else "muted"
        rows.append(((shorten(f" {text}", width), role),))
    return rows


def snapshot_words(snapshot: Snapshot, now: float, glyphs: Glyphs) -> str:
    """Describe a snapshot: trusted (full mark) or not, step, age, where it is, closs then."""
    mark = glyphs.dot if snapshot.trusted else glyphs.ring
    old = age(now - snapshot.time) if snapshot.time else "–"
    closs = f"closs {number(snapshot.closs, 3)}" if snapshot.closs is not None else ""
    place = "memory" if snapshot.where == "ring" else "disk"
    return f"{mark} {count(snapshot.step):>9}  {old:>6}  {place:<6}  {closs}"


def _wrapped(text: str, width: int) -> list[str]:
    lines = textwrap.wrap(text, max(10, width))
    return lines if len(lines) <= 3 else [*lines[:2], shorten(f"{lines[2]} …", width, " …")]
