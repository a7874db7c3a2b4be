"""Accelerators and the training process, a row each: load, memory, heat, power, throttling."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vlamon.catalogue import entry
from vlamon.charts.glyphs import Glyphs
from vlamon.charts.numbers import gibibytes, percent
from vlamon.charts.rows import Row, cells, shorten
from vlamon.charts.sparkline import sparkline
from vlamon.hardware import Device, Process
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.widgets.row_panel import RowPanel, framed

if TYPE_CHECKING:
    from vlamon.store import RunStore

HOT = 85.0
"""Degrees from which a temperature is written as a warning; data centre cards slow down near 90."""
FULL = 0.95
"""Share of memory in use from which it is written as a warning."""
STALL = 0.2
"""Share of the time from which waiting for data is written as a warning."""
NEWEST = 64
"""Batches over which it is measured."""


class GpuPanel(RowPanel):
    """A row a device, then the process; a machine without a driver says so."""

    def key(self, frame: FrameContext) -> Hashable:
        """Return the newest sample's time: samples come once a second, batches far more often."""
        sample = frame.store.gpu.latest
        return 0.0 if sample is None else sample.time

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return the rows that fit; devices that do not are counted in the title."""
        sample = frame.store.gpu.latest
        title: Row = (("GPU", "title"),)
        inner = width - 2
        if sample is None:
            nothing: Row = ((" no samples from this run", "muted"),)
            return framed((("GPU", "muted"),), (), [nothing], width, height, frame.glyphs)
        process = None
        if sample.process is not None:
            wait = _wait_row(frame.store)
            process = (*_process_row(sample.process, 0), ("  ", ""), *wait)
            if not wait or cells(process) > inner:
                process = _process_row(sample.process, inner)
        room = max(0, height - 2 - (process is not None))
        shown = sample.devices[:room]
        body = _device_rows(shown, inner, frame)
        if not sample.devices:
            title = (("process", "title"),)
            body = [((" no accelerator on this machine", "muted"),)]
            if sample.process is not None:
                body.append(_history_row(frame, inner))
            body = body[-room:] if room else []
        if process is not None:
            body.append(process)
        hidden = len(sample.devices) - len(shown)
        right: Row = ((f"+{hidden} more", "muted"),) if hidden > 0 else ()
        if not hidden and sample.devices:
            right = ((shorten(sample.devices[0].name, max(0, width - 14)), "muted"),)
        return framed(title, right, body, width, height, frame.glyphs)


class GpuLine(RowPanel):
    """All accelerators in one row: how many, least to most of each figure, the outlier named."""

    def key(self, frame: FrameContext) -> Hashable:
        """Return the newest sample's time."""
        sample = frame.store.gpu.latest
        return 0.0 if sample is None else sample.time

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return the one row."""
        sample = frame.store.gpu.latest
        if sample is None:
            return [()]
        parts: list[Row] = []
        if sample.devices:
            parts.append(((f"{len(sample.devices)} {frame.glyphs.times} ", "foreground"),))
            parts += [part for part in _spans(sample.devices, frame) if part]
        else:
            parts.append((("no accelerator", "muted"),))
        if sample.process is not None:
            parts.append(_process_row(sample.process, 40))
            parts.append(_wait_row(frame.store))
        row: list[tuple[str, str]] = [(" GPU ", "gpu")]
        for index, part in enumerate(part for part in parts if part):
            lead = "  " if index > bool(sample.devices) else ""
            if cells((*row, (lead, ""), *part)) > width:
                break
            row += [(lead, ""), *part]
        return [tuple(row)]


def _wait_row(store: RunStore) -> Row:
    """Say which share of the newest batches' time was spent on waiting for data; nothing where the
    run does not log its times."""
    data, whole = (_seconds(store, family) for family in ("data", "time"))
    if data is None or not whole:
        return ()
    role = "warn" if data / whole >= STALL else "foreground"
    return ("data wait ", "muted"), (percent(data / whole), role)


def _seconds(store: RunStore, family: str) -> float | None:
    """Return the mean of a time that the run logs with its batches."""
    for name in store.metrics:
        known = entry(name)
        if known.family == family and not (known.split or known.copy or name == "updt_s"):
            # An update's time leaves the wait for data out.
            values = np.asarray(
                store.values(name, max(0, store.rows - NEWEST), store.rows), np.float64
            )
            finite = values[np.isfinite(values)]
            return float(finite.mean()) if len(finite) else None
    return None


ODD_LOAD = 20.0
"""Percent points below the median from which a device's load is named."""


def _spans(devices: Sequence[Device], frame: FrameContext) -> list[Row]:
    """Write load, memory, heat and throttling over all devices."""
    loads = [(one.util, one) for one in devices if one.util is not None]
    heats = [(one.temperature, one) for one in devices if one.temperature is not None]
    held = [one for one in devices if one.throttle]
    parts: list[Row] = []
    if loads:
        values = sorted(value for value, _ in loads)
        median = values[len(values) // 2]
        least, odd = min(loads, key=lambda pair: pair[0])
        apart = median - least >= ODD_LOAD and len(loads) > 1
        usual = [value for value in values if not apart or value > least] or values
        row: Row = (("load ", "muted"), (f"{_span(usual)} %", "foreground"))
        if apart:
            row = (*row, (f", #{odd.index} {least:.0f} % {frame.glyphs.warn}", "warn"))
        parts.append(row)
    sizes = [one for one in devices if one.memory_used is not None and one.memory_total]
    if sizes:
        used = sorted((one.memory_used or 0) / 2**30 for one in sizes)
        full = any((one.memory_used or 0) / (one.memory_total or 1) >= FULL for one in sizes)
        total = gibibytes(max(one.memory_total or 0 for one in sizes))
        words = f"{_span(used)}/{total}G"
        parts.append((("mem ", "muted"), (words, "warn" if full else "foreground")))
    if heats:
        most, hottest = max(heats, key=lambda pair: pair[0])
        name = f" #{hottest.index}" if len(devices) > 1 else ""
        role = "warn" if most >= HOT else "foreground"
        parts.append((("max ", "muted"), (f"{most:.0f}{frame.glyphs.degree}{name}", role)))
    if held:
        reasons = ", ".join(sorted({reason for one in held for reason in one.throttle}))
        which = " ".join(f"#{one.index}" for one in held[:4])
        parts.append(((f"{frame.glyphs.warn} {which} {shorten(reasons, 30)}", "warn"),))
    return parts


def _span(values: Sequence[float]) -> str:
    """Write least to most of ascending values, one number where they are the same."""
    low, high = f"{values[0]:.0f}", f"{values[-1]:.0f}"
    return low if low == high else f"{low}–{high}"


def _device_rows(devices: Sequence[Device], width: int, frame: FrameContext) -> list[Row]:
    """Write a row a device, its columns below each other: a bar of the load, its history where
    there is one device, the figures, and what holds clocks back."""
    reason = max((len(_reason(device, frame.glyphs)) for device in devices), default=0)
    reason = min(reason, max(2, width // 4))
    loads = sorted(device.util for device in devices if device.util is not None)
    odd = loads[len(loads) // 2] - ODD_LOAD if loads else 0.0
    rows = []
    for device in devices:
        figures = _figures(device, frame, width - reason, reason)
        room = min(60, width - 3 - cells(figures) - 1)
        history = frame.store.gpu.history(device.index, "util") if len(devices) == 1 else None
        if room < 4:
            drawn: Row = ()
        elif history is None:
            drawn = _load_bar(device.util or 0.0, odd, room, frame.glyphs)
        else:
            drawn = ((sparkline(history[-room:], room, frame.glyphs.level, 0.0, 100.0), "gpu"),)
        rows.append(((f" {device.index:<2}", "gpu"), *drawn, *figures))
    return rows


def _load_bar(load: float, odd: float, room: int, glyphs: Glyphs) -> Row:
    busy = round(min(1.0, max(0.0, load / 100)) * room)
    role = "warn" if load <= odd else "gpu"
    return (glyphs.thick * busy, role), (glyphs.other * (room - busy), "muted")


def _reason(device: Device, glyphs: Glyphs) -> str:
    return f" {glyphs.warn} {', '.join(device.throttle)}" if device.throttle else ""


def _figures(device: Device, frame: FrameContext, width: int, reason: int) -> Row:
    """Write the figures, as many as `width` has room for, and a reason of `reason` columns."""
    glyphs = frame.glyphs
    row: list[tuple[str, str]] = []
    util = "  – %" if device.util is None else f"{device.util:3.0f} %"
    row.append((f" {util}", "foreground"))
    if device.memory_used is not None and device.memory_total:
        full = device.memory_used / device.memory_total >= FULL
        used, total = gibibytes(device.memory_used), gibibytes(device.memory_total)
        row.append((f" {used:>3}/{total}G", "warn" if full else "foreground"))
    if device.temperature is not None:
        hot = device.temperature >= HOT
        row.append((f" {device.temperature:3.0f}{glyphs.degree}", "warn" if hot else "foreground"))
    if device.power is not None and width >= 36:
        limit = f"/{device.power_limit:.0f}" if device.power_limit and width >= 60 else ""
        row.append((f" {device.power:4.0f}{limit}W", "foreground"))
    if device.clock_sm is not None and width >= 72:
        row.append((f" {device.clock_sm:4}MHz", "muted"))
    row.append((f"{shorten(_reason(device, glyphs), reason):<{reason}}", "warn"))
    return tuple(row)


def _process_row(process: Process, width: int) -> Row:
    parts: list[tuple[str, str]] = []
    if process.cpu is not None:
        parts += [(" cpu ", "muted"), (f"{process.cpu:.0f} %", "foreground")]
    if process.rss is not None:
        parts += [("  rss ", "muted"), (f"{gibibytes(process.rss)}G", "foreground")]
    if process.threads is not None:
        parts += [("  threads ", "muted"), (f"{process.threads}", "foreground")]
    if process.pid and width >= 48:
        parts += [("  pid ", "muted"), (f"{process.pid}", "foreground")]
    return tuple(parts)


def _history_row(frame: FrameContext, width: int) -> Row:
    """Draw the process's CPU history where no accelerator takes the space."""
    values = frame.store.gpu.process_history("cpu")
    room = max(0, min(60, width - 8))
    return ((" cpu ", "muted"), (sparkline(values[-room:], room, frame.glyphs.level, 0.0), "gpu"))
