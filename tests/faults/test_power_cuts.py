"""The power is cut after every system call: what was told to be on disk is there."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.faults.power import File, Folder, Loss, PowerCut
from tests.vlamon.emitter.test_blocklog import plain_blocks
from tests.vlamon.emitter.test_journal import HELLO, read_all, steps_in
from vlamon.alerts.alert import Alert
from vlamon.alerts.message import Message
from vlamon.alerts.outbox import Outbox
from vlamon.emitter.journal_writer import Journal
from vlamon.guard.checkpoint.sharded import Shards
from vlamon.guard.checkpoint.writer import Durable, DurableError, Written
from vlamon.guard.state.sharding import named

LOSSES: tuple[Loss, ...] = ("all", "data", "names", "random", "random")


def whole(store: Durable, step: int) -> Written:
    return store.write(step, {"w": torch.full((3000,), float(step)), "step": step})


def shards(store: Durable, step: int) -> Written:
    state = {"w": torch.full((3000,), float(step)), "step": step}
    mine = Shards(0, 1, list(named(state, {}, 0)))
    written = store.write_shards(step, state, mine, f"{os.getpid()}-test.{step}", {})
    assert written is not None
    return written


def images(cut: PowerCut, folder: Path, count: int) -> Iterator[Path]:
    """What such disks hold after call number `count`."""
    for number, loss in enumerate(LOSSES):
        yield cut.image(folder / f"{count}-{number}", loss, random.Random(9 * count + number))


@pytest.mark.parametrize("write", [whole, shards])
def test_a_power_cut_during_a_checkpoint_leaves_the_one_before_it_or_this_one(
    tmp_path: Path, write: Callable[[Durable, int], Written]
) -> None:
    place, calls, told = tmp_path / "disk", 0, 0
    place.mkdir()
    store = Durable(place / "run" / "checkpoints", keep=1)

    def look(call: str) -> None:
        nonlocal calls
        calls += 1
        for image in images(cut, tmp_path, calls):
            left = Durable(image / "run" / "checkpoints", keep=1)
            loaded = left.load()
            step = 0 if loaded is None else loaded.step
            assert step in (told, told + 1), f"{image.name} after {call}"
            if loaded is not None:
                assert loaded.passed_over == (), f"{image.name} after {call}"
                assert bool((loaded.state["w"] == float(step)).all())

    cut = PowerCut(place, look)
    with cut.following():
        for step in (1, 2):
            write(store, step)
            told = step
            look(f"write {step}")
    assert calls > 40


@pytest.mark.parametrize("missing", ["file", "directory"])
def test_a_missing_sync_is_seen(tmp_path: Path, missing: str) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    cut = PowerCut(place, lambda call: None)
    synced = cut._fsync
    kind = File if missing == "file" else Folder
    cut._fsync = lambda made, handle: not cut.holds(handle, kind) and synced(made, handle)  # type: ignore[method-assign]
    with cut.following():
        whole(Durable(place), 1)
    left = []
    for image in images(cut, tmp_path, 1):
        try:
            left.append(Durable(image).load())
        except DurableError:
            left.append(None)
    assert None in left


def test_a_training_writes_on_whatever_a_power_cut_left(tmp_path: Path) -> None:
    place, calls = tmp_path / "disk", 0
    place.mkdir()

    def look(call: str) -> None:
        nonlocal calls
        calls += 1

    cut = PowerCut(place, look)
    with cut.following():
        whole(Durable(place, keep=1), 1)
    first = calls
    states: list[Path] = []
    cut._after = lambda call: states.extend(images(cut, tmp_path, len(states) + first))
    with cut.following():
        whole(Durable(place, keep=1), 2)
    for image in states[::3]:
        whole(Durable(image, keep=1), 3)
        assert {path.name for path in image.iterdir()} == {"latest", "step-000000003"}


def test_an_alert_that_was_kept_survives_a_power_cut(tmp_path: Path) -> None:
    place, calls, kept = tmp_path / "disk", 0, 0
    place.mkdir()

    def look(call: str) -> None:
        nonlocal calls
        calls += 1
        for image in images(cut, tmp_path, calls):
            waiting = list(Outbox(image).waiting())
            assert [each.message.title for each in waiting][:kept] == [f"a{n}" for n in range(kept)]
            assert not list(image.glob("*.unreadable")), f"{image.name} after {call}"

    cut = PowerCut(place, look)
    with cut.following():
        box = Outbox(place)
        for number in range(2):
            alert = Alert("e", "explosion", "high", "run", "host", number, 1.0, "closs exploded")
            box.put("webhook", Message("e", f"a{number}", "body", "high", alert))
            kept = number + 1
            look("put")


@pytest.mark.parametrize("seed", range(10))
def test_a_journal_goes_on_behind_pages_that_a_power_cut_lost(tmp_path: Path, seed: int) -> None:
    dice, path, page = random.Random(seed), tmp_path / "run.vlaj", 512
    journal = Journal(path)
    journal.add_frame(HELLO)
    for block in plain_blocks(0, 100):
        journal.add_block(block, {})
        journal.push()
    journal.close(60.0)
    data = bytearray(path.read_bytes())
    for at in range(page, len(data), page):
        if dice.random() < 0.2:
            data[at : at + page] = bytes(len(data[at : at + page]))
    path.write_bytes(data)
    kept = steps_in(read_all(path))
    again = Journal(path)
    again.add_block(plain_blocks(again.past.next_seq, 1)[0], {})
    again.close(60.0)
    found = steps_in(read_all(path))
    assert 0 < len(kept) < 1000
    assert found[: len(kept)] == kept
    assert len(found) == len(kept) + 10
