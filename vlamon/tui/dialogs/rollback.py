"""The rollback dialog: where the run can go back to, what is lost and what will be skipped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.charts.glyphs import Glyphs
from vlamon.charts.numbers import age, count, number
from vlamon.charts.rows import Row
from vlamon.records import Event, Snapshot
from vlamon.tui.dialogs.choice import Choice, Choosing, Item
from vlamon.tui.frame_context import seconds_left
from vlamon.tui.snapshots import snapshots

if TYPE_CHECKING:
    from vlamon.tui.screens.main import MainScreen


def rollback_dialog(main: MainScreen, event: Event | None) -> Choice:
    """Offer the run's snapshots, newest trusted one first chosen; in ask mode with a countdown."""
    offered = snapshots(main.store)
    trusted = next((str(one.step) for one in offered if one.trusted), "newest")
    glyphs = main.moment.glyphs if main.moment is not None else Glyphs()

    def items(_: str) -> Sequence[Item]:
        now, step = main.clock(), _step(main)
        lines = [Item(str(one.step), _line(one, step, now, glyphs)) for one in offered]
        if not lines:
            lines = [Item("newest", ((" the newest trusted state that the guard has", "title"),))]
        state = main.store.status
        if state is not None and state.state == "paused":
            lines.append(Item("resume", ((" go on without a rollback", "muted"),)))
        return lines

    def above() -> Sequence[Row]:
        rows: list[Row] = []
        deadline = seconds_left(main.store.status, main.clock())
        if deadline is not None:
            said = f" the guard acts by itself in {deadline:.0f} s"
            rows.append(((said, "explode bold"),))
        if event is not None:
            from vlamon.tui.widgets.events import sentence

            rows.append(((f" {glyphs.explode} {sentence(event)}", "explode"),))
        head = f"   {'step':>9}  {'age':>6}  {'trust':<9}  {'where':<6}  {'closs':>8}  taken back"
        return [*rows, ((head, "muted"),)]

    def below() -> Sequence[Row]:
        rows: list[Row] = [()]
        rows.append(
            ((" The batches since are skipped, the abandoned attempt stays in view.", "muted"),)
        )
        state = main.store.status
        if state is not None and state.budget is not None:
            rows.append(((f" The guard has {state.budget} automatic rollbacks left.", "muted"),))
        return rows

    choosing = Choosing(
        "roll back to", items, "Enter rolls back, Esc leaves", above=above, below=below
    )
    return Choice(choosing, at=trusted)


def _step(main: MainScreen) -> int:
    status = main.store.status
    return status.step if status is not None else 0


def _line(snapshot: Snapshot, step: int, now: float, glyphs: Glyphs) -> Row:
    mark = glyphs.dot if snapshot.trusted else glyphs.ring
    old = age(now - snapshot.time) if snapshot.time else "–"
    trust = "trusted" if snapshot.trusted else "candidate"
    where = "memory" if snapshot.where == "ring" else "disk"
    closs = number(snapshot.closs) if snapshot.closs is not None else "–"
    lost = f"{count(max(0, step - snapshot.step))} batches"
    role = "checkpoint" if snapshot.trusted else "foreground"
    text = (
        f" {mark} {count(snapshot.step):>9}  {old:>6}  {trust:<9}  {where:<6}  {closs:>8}  {lost}"
    )
    return ((text, role),)
