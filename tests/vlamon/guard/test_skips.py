"""Samplers of every kind: what is skipped, where they go on, and what of them a snapshot keeps."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vlamon.guard.toy import Order, Sampler, Toy
from vlamon.guard.skips import Skips


class EpochSampler:
    """Its cursor starts over with every epoch."""

    def __init__(self, batches: int = 100) -> None:
        self.batches, self.epoch, self.cursor = batches, 0, 0
        self.seen: list[int] = []

    def draw(self) -> list[int]:
        if self.cursor == self.batches:
            self.epoch, self.cursor = self.epoch + 1, 0
        self.cursor += 1
        self.seen.append(1000 * self.epoch + self.cursor)
        return self.seen[-1:]

    def state_dict(self) -> dict[str, int]:
        return {"epoch": self.epoch, "cursor": self.cursor}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.epoch, self.cursor = state["epoch"], state["cursor"]


class RandomSampler:
    """Draws from a generator, whose state is a tensor; its cursor is a method."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)
        self.seen: list[int] = []

    def cursor(self) -> int:
        return len(self.seen)

    def draw(self) -> list[int]:
        self.seen.append(int(torch.randint(0, 10**6, (1,), generator=self.generator)))
        return self.seen[-1:]

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.set_state(state["generator"])


class EndingSampler(Sampler):
    """Has only so many batches."""

    def __init__(self, batches: int) -> None:
        super().__init__()
        self.batches = batches

    def draw(self) -> list[int]:
        if self.cursor >= 4 * self.batches:
            raise StopIteration
        return super().draw()


class RememberingSampler(Sampler):
    """Hands out its own containers as its state."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()
        self.last: deque[int] = deque(maxlen=3)

    def draw(self) -> list[int]:
        ids = super().draw()
        self.seen.add(ids[0])
        self.last.append(ids[0])
        return ids

    def state_dict(self) -> dict[str, Any]:
        return {"cursor": self.cursor, "seen": self.seen, "last": self.last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.cursor, self.seen, self.last = state["cursor"], state["seen"], state["last"]


def test_a_cursor_that_begins_anew_with_every_epoch_never_sends_the_training_back() -> None:
    sampler = EpochSampler()
    toy = Toy(sampler=sampler)
    toy.run(600, {150: [Order("rollback")]})
    assert sampler.seen == sorted(sampler.seen)
    assert sampler.epoch == 6


def test_a_sampler_whose_state_is_a_tensor_skips_and_skips_again_after_a_resume(
    tmp_path: Path,
) -> None:
    toy = Toy(tmp_path, sampler=RandomSampler(), slots=24)
    first, second = Order("rollback"), Order("rollback", {"to": 30, "data": "replay"})
    checkpoint = Order("checkpoint")
    toy.run(200, {110: [first], 130: [second], 131: [checkpoint]})
    assert first.result is not None
    assert second.result is not None
    assert second.result["step"] < first.result["step"]
    assert checkpoint.error == ""
    resumed = Toy(tmp_path, sampler=RandomSampler())
    assert resumed.guard.start() == 132
    assert resumed.sampler.draw()[0] == toy.sampler.seen[toy.trained.index(132)]
    whole = RandomSampler()
    stream = [whole.draw()[0] for _ in range(400)]
    skipped = stream[first.result["step"] + 1 : 111]
    at = second.result["step"] + 1
    onward = toy.sampler.seen[toy.trained.index(130) + 1 :]
    assert onward[: first.result["step"] + 1 - at] == stream[at : first.result["step"] + 1]
    assert not set(onward) & set(skipped)


def test_data_that_end_within_the_margin_leave_the_sampler_right_behind_the_spike() -> None:
    def nan(toy: Toy, y: torch.Tensor) -> torch.Tensor:
        return y * math.nan

    toy = Toy(sampler=EndingSampler(170), faults={4 * 160: nan}, slots=4)
    with pytest.raises(StopIteration):  # the script's own `draw`, when the last batch is used up
        toy.run(400)
    ((_, told),) = toy.emitter.kinds("rollback")
    assert told["ok"]
    assert told["skipped"]["margin"] == 0
    assert told["skipped"]["to"] == 4 * 161
    assert toy.trained[-1] == told["to"] + 9


def test_a_snapshot_shares_no_container_with_its_sampler() -> None:
    toy = Toy(sampler=RememberingSampler(), data="replay")
    toy.emitter.answers = {"rollback": [Order("stop")]}
    toy.run(200, {150: [Order("rollback")]})
    sampler = toy.sampler
    assert sampler.cursor < 4 * 150, "stopped at once: it holds what the snapshot held, and a batch"
    assert sampler.seen == set(range(0, sampler.cursor, 4))
    assert list(sampler.last) == [sampler.cursor - 12, sampler.cursor - 8, sampler.cursor - 4]


def test_stretches_of_an_older_version_that_names_them_by_cursor_are_left_out() -> None:
    skips = Skips(Sampler())
    skips.load_state_dict({"ranges": [[640, {"cursor": 720}], [7, 9, {"cursor": 36}]]}, 5)
    assert skips.state_dict() == {"ranges": [[7, 9, {"cursor": 36}]]}
    assert skips.place == 5
