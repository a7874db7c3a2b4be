"""The emitter end to end: what a script says arrives at a monitor, exactly."""

from __future__ import annotations

import math
import time
from pathlib import Path

from vlamon import Emitter
from vlamon.records import BatchBlock, Command, EpochRow, Event, Link, Record, Reply, RunInfo
from vlamon.sources.socket import SocketSource


def read_until(source: SocketSource, wanted: type[Record], seconds: float = 10.0) -> list[Record]:
    """Everything that the source says until a record of that type came."""
    found: list[Record] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found.extend(source.read(0.1))
        if any(isinstance(record, wanted) for record in found):
            return found
    raise AssertionError(f"no {wanted} within {seconds} s, only {found}")


def of_type(records: list[Record], wanted: type) -> list:
    return [record for record in records if isinstance(record, wanted)]


def test_what_is_logged_arrives_exactly(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    with Emitter(
        path, run="goal", weights={"closs": 1.0, "loss_ct": 10.0}, total_steps=9
    ) as emitter:
        emitter.log(7, epoch=0.5, closs=1 / 3, loss_ct=None, l1_loss_action=[0.1, 0.2])
        emitter.log(8, closs=math.inf, loss_ct=math.nan)
        emitter.log_epoch(0, "val_ind", {"closs": 3.25}, step=8)
        source = SocketSource(path)
        records = read_until(source, EpochRow)
    (info,) = of_type(records, RunInfo)
    assert (info.name, info.total_steps, info.control) == ("goal", 9, False)
    (block,) = of_type(records, BatchBlock)
    assert block.step.tolist() == [7, 8]
    assert block.epoch[0] == 0.5
    assert math.isnan(block.epoch[1])
    assert block.columns["closs"].values.tolist() == [1 / 3, math.inf]
    assert block.columns["loss_ct"].present.tolist() == [False, True]
    assert block.columns["l1_loss_action_8"].values[0] == 0.1
    assert block.weights == {"closs": 1.0, "loss_ct": 10.0}
    assert of_type(records, EpochRow)[0].metrics == {"closs": 3.25}


def test_an_order_is_answered_when_the_script_executed_it(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    with Emitter(path) as emitter:
        emitter.commands()
        source = SocketSource(path)
        while source.info is None or not source.info.control:
            source.read(0.1)
        source.send(Command("order-1", "checkpoint", {"why": "test"}))
        commands = []
        while not commands:
            source.read(0.02)
            commands = list(emitter.commands())
        assert (commands[0].name, commands[0].args) == ("checkpoint", {"why": "test"})
        commands[0].done({"step": 12})
        records = read_until(source, Reply)
    (reply,) = of_type(records, Reply)
    assert (reply.id, reply.ok, reply.result) == ("order-1", True, {"step": 12})


def test_the_end_of_a_run_reaches_its_monitor(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    with Emitter(path) as emitter:
        source = SocketSource(path)
        read_until(source, RunInfo)
        emitter.log(1, closs=2.0)
    records = []
    while source._link is None or source._link.state != "ended":
        records += source.read(0.1)
    assert [event.kind for event in of_type(records, Event)] == ["end"]
    assert of_type(records, Link)[-1].state == "ended"
    assert list(tmp_path.iterdir()) == []
