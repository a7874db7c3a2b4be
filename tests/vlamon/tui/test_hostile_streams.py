"""Whatever a run sends, the dashboard shows it or says that it cannot; it never ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.vlamon.tui.driving import page, running
from tests.vlamon.tui.fake_feed import NOW, fed, info, status, whole_run
from vlamon.hardware import Device, GpuSample, Process
from vlamon.records import (
    BatchBlock,
    Column,
    EpochRow,
    Event,
    Link,
    MetricSpec,
    Record,
    Reply,
    Snapshot,
)

TEXTS = ("eval\n", "\x1b[2J", "\x9b31m", "a" * 3000, "模型" * 200, "\u202eabc", "", "\ud800")
NUMBERS = (math.inf, -math.inf, math.nan, 1e308)
STEPS = (2**62, -(2**62), 0, -1)
KEYS = (
    *("left", "x", "left", "x", "comma", "x", "home", "x", "end", "full_stop"),
    *("w", "n", "v", "escape", "d", "escape", "i", "escape", "r", "escape", "z", "less_than_sign"),
    *("M", "l", "b", "escape"),
)


def batch(name: str, values: float, epoch: float, time: float, weight: float = 1.0) -> BatchBlock:
    steps = np.arange(48_210, 48_220)
    column = {name: Column(np.full(10, values))}
    return BatchBlock(0, 1, steps, np.full(10, epoch), np.full(10, time), column, {"closs": weight})


def of_text(text: str) -> list[Record]:
    return [
        info(name=text, host=text, devices=(text,), metrics=(MetricSpec(text, "trained", 1.0),)),
        Event(text, text, 1, 0, NOW, "info", text, {"metric": text, "samples": [text, None]}),
        Event("x", "explode", 1, 0, NOW, "error", text, {"metric": text, "value": text}),
        batch(text or "empty", 1.0, 1.0, NOW),
        EpochRow(1.0, text, {text: 1.0}, 0, 5, NOW),
        status(guard=text, phase=text, snapshots=(Snapshot(5, text, True, NOW),)),
        Reply("order-1", False, {}, text),
        Link("live", text),
    ]


def in_events(number: float) -> list[Record]:
    odd = {"metric": "closs", "value": number, "z": number, "ratio": number}
    return [
        Event("x", "explode", 5, 0, number, "error", "", odd),
        Event("y", "warn", 48_215, 1, NOW, "warn", "", odd),
        Event("z", "rollback", 5, 1, number, "info", "", odd),
    ]


def in_status(number: float) -> list[Record]:
    held = (Snapshot(5, "ring", True, number, number),)
    return [
        status(epoch=number, eta=number, steps_per_second=number, snapshots=held),
        status(time=number, state="paused", deadline=number),
    ]


def in_hardware(number: float) -> list[Record]:
    whole = int(number) if math.isfinite(number) else -1
    device = Device(0, "u", "n", number, whole, 0, number, number, number, 0, 0, ("x\n",))
    return [GpuSample(NOW, (device,), Process(1, number, 0, 0)), GpuSample(number, (), None)]


def at_step(step: int) -> list[Record]:
    column = {"closs": Column(np.arange(3.0))}
    return [
        BatchBlock(0, 1, np.full(3, step), np.arange(3.0), np.full(3, NOW), column),
        Event("x", "explode", step, step, NOW, "error"),
        info(total_steps=step, steps_per_epoch=step, vocab=step, world_size=step),
        status(step=step, attempt=step, budget=step),
    ]


STREAMS: dict[str, list[Record]] = {
    **{f"text {text[:6]!r}": of_text(text) for text in TEXTS},
    **{f"step {step}": at_step(step) for step in STEPS},
}
for number in NUMBERS:
    STREAMS |= {
        f"value {number}": [batch("closs", number, 37.0, NOW)],
        f"epoch {number}": [batch("closs", 8.0, number, NOW)],
        f"time {number}": [batch("closs", 8.0, 37.0, number)],
        f"all places {number}": [batch("closs", number, number, number)],
        f"weight {number}": [batch("closs", 8.0, 37.0, NOW, number)],
        f"epoch line {number}": [EpochRow(number, "train", {"closs": number}, 0, 5, number)],
        f"events {number}": in_events(number),
        f"status {number}": in_status(number),
        f"hardware {number}": in_hardware(number),
    }


async def shows(base: tuple[Record, ...], records: list[Record]) -> None:
    async with running(fed(*base), size=(120, 40)) as (pilot, screen, feed):
        for record in records:
            feed.push(record)
            screen.repaint()
        for key in KEYS:
            await pilot.press(key)
            assert pilot.app.is_running, key
        shown = page(pilot)
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "cannot show this run" not in shown


@pytest.mark.parametrize("records", STREAMS.values(), ids=STREAMS)
async def test_a_hostile_stream_leaves_the_dashboard_alive(records: list[Record]) -> None:
    await shows(tuple(whole_run()), records)


@pytest.mark.parametrize("kind", ["text", "step", "value", "epoch", "time", "all", "status"])
async def test_a_run_that_begins_with_nonsense_leaves_the_dashboard_alive(kind: str) -> None:
    first = [record for name, found in STREAMS.items() if name.startswith(kind) for record in found]
    await shows((Link("live"), info()), first)
