"""The rollback dialog: where the run can go back to, what is lost and what will be skipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.charts.glyphs import Glyphs
from vlamon.charts.numbers import age, count, duration, number
from vlamon.charts.rows import Row
from vlamon.records import Event, Snapshot
from vlamon.tui.dialogs.choice import Choice, Choosing, Item
from vlamon.tui.frame_context import seconds_left
from vlamon.tui.snapshots import snapshots, step_of

if TYPE_CHECKING:
    from vlamon.tui.host import Host


def rollback_dialog(host: Host, event: Event | None) -> Choice:
    """Offer the run's snapshots, newest trusted one first chosen; in ask mode with a countdown."""
    offered = snapshots(host.store)
    trusted = next((str(one.step) for one in offered if one.trusted), "newest")
    glyphs = host.shell.rendering.glyphs

    def items(_: str) -> Sequence[Item]:
        now, step = host.shell.clock(), _step(host)
        lines = [Item(str(one.step), _line(one, step, now, glyphs)) for one in offered]
        if not lines:
            lines = [Item("newest", ((" the newest trusted state that the guard has", "title"),))]
        state = host.store.status
        if state is not None and state.state == "paused":
            lines.append(Item("resume", ((" Continue without rollback", "muted"),)))
        return lines

    def above() -> Sequence[Row]:
        rows: list[Row] = []
        deadline = seconds_left(host.store.status, host.shell.clock())
        if deadline is not None:
            said = f" rolls back automatically in {duration(deadline)}"
            rows.append(((said, "explode bold"),))
        if event is not None:
            from vlamon.tui.widgets.events import sentence

            rows.append(((f" {glyphs.explode} {sentence(event)}", "explode"),))
        head = f"   {'step':>9}  {'age':>6}  {'trust':<10}  {'where':<6}  {'closs':>8}  lost"
        return [*rows, ((head, "muted"),)]

    def below() -> Sequence[Row]:
        rows: list[Row] = [()]
        rows.append(((" Batches since then are skipped; the old curve stays, in grey.", "muted"),))
        state = host.store.status
        if state is not None and state.budget is not None:
            rows.append(((f" The guard has {state.budget} automatic rollbacks left.", "muted"),))
        return rows

    choosing = Choosing(
        "roll back to", items, "Enter rolls back, Esc cancels", above=above, below=below
    )
    return Choice(host, choosing, at=trusted)


def _step(host: Host) -> int:
    status = host.store.status
    return status.step if status is not None else 0


def _line(snapshot: Snapshot, step: int, now: float, glyphs: Glyphs) -> Row:
    mark = glyphs.dot if snapshot.trusted else glyphs.ring
    old = age(now - snapshot.time) if snapshot.time else "–"
    trust = "trusted" if snapshot.trusted else "unverified"
    where = "memory" if snapshot.where == "ring" else "disk"
    closs = number(snapshot.closs) if snapshot.closs is not None else "–"
    lost = f"{count(max(0, step - snapshot.step))} batches"
    role = "checkpoint" if snapshot.trusted else "foreground"
    text = f" {mark} {step_of(snapshot):>9}  {old:>6}  {trust:<10}  {where:<6}  {closs:>8}  {lost}"
    return ((text, role),)
