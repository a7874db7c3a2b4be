"""The first row: is it alive, is it healthy, how far is it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vlamon.analysis.liveness import Alive
from vlamon.charts.cells import BASELINE
from vlamon.charts.numbers import age, count, duration, number, time_left
from vlamon.charts.rows import Row, cells, shorten, spread
from vlamon.tui.frame_context import FrameContext, steps_are_epochs
from vlamon.tui.widgets.row_panel import RowPanel

_PULSE = {
    "waiting": ("muted", "waiting"),
    "live": ("ok bold", "training"),
    "silent": ("explode bold", "SILENT"),
    "paused": ("warn bold", "paused"),
    "stopped": ("warn bold", "stopped"),
    "rolling_back": ("rollback bold", "rolling back"),
    "loading": ("muted", "loading"),
    "checkpointing": ("checkpoint bold", "writing checkpoint"),
    "replay": ("accent bold", "replay"),
    "reconnecting": ("warn bold", "reconnecting"),
    "ended": ("muted", "ended"),
    "failed": ("explode bold", "failed"),
}


BAR = 10
"""Cells of the bar of what is done."""
PLAIN_END = "the training ended"
"""What an end without a reason of its own says: the pulse has said it."""


def pulse_words(alive: Alive) -> tuple[str, str]:
    """Return role and words for a pulse."""
    role, word = _PULSE[alive.pulse]
    if alive.pulse == "loading":
        word = f"{word} {alive.text}".rstrip()
    elif alive.pulse == "rolling_back" and alive.text:
        word = alive.text
    elif alive.pulse == "silent":
        word += f" {age(alive.silent_for)}"
        if alive.text:
            word += f" {alive.text}"
    return role, word


class StatusLine(RowPanel):
    """Name, host, pulse, step, epoch, speed, time left, alerts: as many as fit, by importance."""

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return the one row."""
        if frame.notice:
            return [_with_notice(frame, width)]
        return [status_row(frame, width)]


def status_row(frame: FrameContext, width: int) -> Row:
    """Choose the parts that fit, the most telling ones first."""
    alerts = _alerts(frame)
    parts = _parts(frame)
    chosen = {rank for rank, _ in parts}
    for rank in sorted(chosen, reverse=True):
        if _size(parts, chosen, alerts) <= width:
            break
        chosen.discard(rank)
    left = _joined([part for rank, part in parts if rank in chosen])
    return spread(left, alerts, width)


def _parts(frame: FrameContext) -> list[tuple[int, Row]]:
    """Return the parts left to right with their rank: 0 stays longest."""
    store, status, info = frame.store, frame.store.status, frame.store.info
    role, word = pulse_words(frame.alive)
    parts: list[tuple[int, Row]] = []
    name = shorten(info.name, 32) if info is not None and info.name else "vlamon"
    parts.append((2, ((name, "title bold"),)))
    if info is not None and info.host:
        parts.append((10, ((_where(frame), "muted"),)))
    parts.append((0, ((f"{frame.glyphs.dot} {word}", role),)))
    if frame.deadline is not None:
        parts.append((1, ((f"guard acts in {duration(frame.deadline)}", "explode bold"),)))
    if frame.baseline:
        parts.append((4, (("Δ to ", "muted"), (shorten(frame.baseline, 24), BASELINE))))
    if frame.held:
        parts.append((4, (("frozen", "accent"),)))
    if frame.alive.text not in ("", PLAIN_END) and frame.alive.pulse in (
        "live",
        "waiting",
        "replay",
        "reconnecting",
        "failed",
        "ended",
    ):
        parts.append((3, ((frame.alive.text, "muted"),)))
    step = newest_step(frame)
    if step is not None and not steps_are_epochs(store):
        total = info.total_steps if info is not None else None
        if total:
            parts.append((1, ((f"{count(step)}/{count(total)}", "foreground"),)))
            share = min(1.0, max(0.0, (step + 1) / total))  # steps count from 0
            parts.append((12, _bar(share, frame)))
            parts.append((9, ((f"{int(share * 100)} %", "foreground"),)))
        else:
            parts.append((1, (("step ", "muted"), (count(step), "foreground"))))
    epoch = _epoch(frame)
    if epoch:
        rank = 1 if steps_are_epochs(store) else 6
        parts.append((rank, (("epoch ", "muted"), (epoch, "foreground"))))
    if status is not None and status.steps_per_second and frame.alive.pulse == "live":
        parts.append((5, ((f"{number(status.steps_per_second, 3)} it/s", "foreground"),)))
    if status is not None and status.eta is not None and frame.alive.pulse == "live":
        parts.append((7, ((time_left(status.eta), "foreground"), (" left", "muted"))))
    attempt = status.attempt if status is not None else _last_attempt(store)
    if attempt:
        parts.append((11, (("attempt ", "muted"), (str(attempt), "rollback"))))
    if status is not None and status.guard:
        parts.append((8, (("guard ", "muted"), (status.guard, "foreground"))))
    return parts


def _bar(share: float, frame: FrameContext) -> Row:
    """Draw how much is done."""
    done = int(share * BAR)
    glyphs = frame.glyphs
    return (glyphs.thick * done, "accent"), (glyphs.other * (BAR - done), "muted")


def _where(frame: FrameContext) -> str:
    info = frame.store.info
    if info is None:
        return ""
    devices = len(info.devices)
    suffix = f" · {devices}×{_model(info.devices[0])}" if devices else ""
    if not devices and info.world_size > 1:
        suffix = f" · {info.world_size} ranks"
    return shorten(info.host, 24) + suffix


def _model(device: str) -> str:
    """Shorten `NVIDIA H200 SXM` to `H200`."""
    words = [word for word in device.split() if word.upper() not in ("NVIDIA", "AMD", "GPU")]
    return words[0] if words else device


def _epoch(frame: FrameContext) -> str:
    store, info = frame.store, frame.store.info
    epoch = float(store.epochs_of_rows(store.rows - 1)[0]) if store.rows else math.nan
    if not math.isfinite(epoch):
        if store.status is None or store.status.epoch is None:
            return ""
        epoch = store.status.epoch
    if not math.isfinite(epoch):
        return ""
    text = f"{int(epoch)}"
    if info is not None and info.total_steps and info.steps_per_epoch:
        text += f"/{-(-info.total_steps // info.steps_per_epoch)}"
    return text


def newest_step(frame: FrameContext) -> int | None:
    """Return the step of the newest batch: a trainer says its status far less often."""
    store = frame.store
    if store.rows:
        return int(store.steps(store.rows - 1)[0])
    return None if store.status is None else store.status.step


def _last_attempt(store: object) -> int:
    attempts = getattr(store, "attempts", ())
    return int(attempts[-1].number) if attempts else 0


def _alerts(frame: FrameContext) -> Row:
    if not frame.unseen:
        return ()
    return ((f"{frame.unseen} {frame.glyphs.warn} ", "explode bold"),)


def _with_notice(frame: FrameContext, width: int) -> Row:
    role, word = pulse_words(frame.alive)
    left: Row = ((f" {frame.glyphs.dot} {word}", role),)
    room = width - cells(left) - 2
    return (*left, ("  ", ""), (shorten(frame.notice, room), frame.notice_role))


def _joined(parts: Sequence[Row]) -> Row:
    row: list[tuple[str, str]] = [(" ", "")]
    for index, part in enumerate(parts):
        if index:
            row.append(("  ", ""))
        row += part
    return tuple(row)


def _size(parts: Sequence[tuple[int, Row]], chosen: set[int], alerts: Row) -> int:
    return cells(_joined([part for rank, part in parts if rank in chosen])) + cells(alerts) + 1
