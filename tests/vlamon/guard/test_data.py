"""The order of the data under anyone's loader: replayed, skipped and resumed exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset

from tests.vlamon.guard.toy import Emitter, Order
from vlamon.guard import Guard, GuardSettings
from vlamon.guard.data import GuardedLoader


class Numbers(Dataset[torch.Tensor]):
    """Sample i is i and a random number, as an augmentation would draw it."""

    def __init__(self, count: int = 12) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.cat([torch.tensor([float(index)]), torch.rand(1)])


class Stream(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Iterator[torch.Tensor]:
        yield from (torch.tensor([float(i), 0.0]) for i in range(12))


class Stateful:
    """Its state acts at the next `iter()`, as torchdata's StatefulDataLoader has it."""

    def __init__(self) -> None:
        self.place, self.pending = 0, 0
        self.order = torch.randperm(12, generator=torch.Generator().manual_seed(5)).tolist()

    def __iter__(self) -> Iterator[torch.Tensor]:
        self.place, self.pending = self.pending, 0
        while self.place < 12:
            self.place += 1
            yield torch.tensor([[float(self.order[self.place - 1]), 0.0]])

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        self.pending = state["place"]


class Promising(DataLoader[torch.Tensor]):
    """As Accelerate prepares a loader: the method is there, and raises."""

    def state_dict(self) -> dict[str, Any]:
        raise AttributeError("'DataLoader' object has no attribute 'state_dict'")


def plain(**options: Any) -> DataLoader[torch.Tensor]:
    return DataLoader(Numbers(), batch_size=2, **options)


def seeded() -> DataLoader[torch.Tensor]:
    return plain(shuffle=True, generator=torch.Generator().manual_seed(3))


def distributed() -> DataLoader[torch.Tensor]:
    return plain(sampler=DistributedSampler(Numbers(), num_replicas=2, rank=1, seed=4))


LOADERS = {
    "shuffle": lambda: plain(shuffle=True),
    "workers": lambda: plain(shuffle=True, num_workers=2),
    "generator": seeded,
    "distributed": distributed,
    "iterable": lambda: DataLoader(Stream(), batch_size=2),
    "stateful": Stateful,
    "promising": lambda: Promising(Numbers(), batch_size=2, shuffle=True),
}


class Run:
    """A tiny training over a loader; remembers what each step saw."""

    def __init__(self, loader: Any, run_dir: Path | None = None, **settings: Any) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.emitter = Emitter()
        self.guard = Guard(
            self.model,
            self.optimizer,
            emitter=self.emitter,  # type: ignore[arg-type]
            run_dir=run_dir,
            settings=GuardSettings(
                **{"every": 5, "slots": 24, "patience": 0, "mode": "watch", **settings}
            ),
        )
        self.loader = loader
        self.seen: list[tuple[int, Any]] = []

    def step(self, step: int, batch: torch.Tensor) -> int:
        self.seen.append((step, batch.tolist()))
        self.model(batch).sum().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return self.guard.after_step(step, closs=1.0)

    def batches(self, steps: int, orders: Mapping[int, Order] | None = None) -> list[Any]:
        """With `guard.batches`."""
        waiting = dict(orders or {})
        for step, batch in self.guard.batches(self.loader, steps=steps):
            self.emitter.orders += [waiting.pop(step)] if step in waiting else []
            self.step(step, batch)
        self.guard.close()
        return self.seen

    def passes(self, steps: int, orders: Mapping[int, Order] | None = None) -> list[Any]:
        """With loops of one's own, as scripts have them."""
        waiting, loader = dict(orders or {}), self.guard.loader(self.loader)
        step, epoch = self.guard.start(), loader.epoch
        while step < steps:
            if isinstance(getattr(self.loader, "sampler", None), DistributedSampler):
                self.loader.sampler.set_epoch(epoch)
            for batch in loader:
                self.emitter.orders += [waiting.pop(step)] if step in waiting else []
                step = self.step(step, batch)
                if step >= steps:
                    break
            epoch += 1
        self.guard.close()
        return self.seen


def by_step(seen: list[Any]) -> dict[int, Any]:
    return dict(seen)


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.parametrize("way", ["batches", "passes"])
def test_a_replay_sees_the_same_batches_again(kind: str, way: str) -> None:
    quiet = getattr(Run(LOADERS[kind]()), way)(40)
    back = {27: Order("rollback", {"to": 9, "data": "replay"})}  # two epochs before, or three
    again = getattr(Run(LOADERS[kind]()), way)(40, back)
    assert len(again) == 40 + 18
    assert [step for step, _ in again].count(15) == 2
    first, second = by_step(again[:28]), by_step(again[28:])
    assert all(first[step] == second[step] for step in range(10, 28))
    assert by_step(again) == by_step(quiet)


@pytest.mark.parametrize("kind", LOADERS)
def test_a_skip_goes_on_behind_the_spike_and_never_sees_the_stretch_again(kind: str) -> None:
    quiet = [batch for _, batch in Run(LOADERS[kind]()).batches(60)]
    run = Run(LOADERS[kind]())
    skipped = [batch for _, batch in run.batches(40, {27: Order("rollback", {"to": 9})})]
    indices = [[sample[0] for sample in batch] for batch in skipped]
    expected = [[sample[0] for sample in batch] for batch in quiet[:58]]
    if kind in ("shuffle", "workers", "promising"):  # a later epoch is shuffled by other numbers
        expected, indices = expected[:30], indices[:30]
    assert indices == expected


@pytest.mark.parametrize("kind", LOADERS)
def test_a_resume_goes_on_within_the_epoch(kind: str, tmp_path: Path) -> None:
    whole = by_step(Run(LOADERS[kind]()).batches(30))
    Run(LOADERS[kind](), tmp_path).batches(22, {20: Order("checkpoint")})
    resumed = Run(LOADERS[kind](), tmp_path)
    torch.manual_seed(99)
    seen = by_step(resumed.batches(30))
    assert list(seen) == list(range(21, 30))
    assert seen == {step: whole[step] for step in seen}


def test_the_guards_loader_changes_no_number_of_a_quiet_training() -> None:
    torch.manual_seed(7)
    alone = [batch.tolist() for _ in range(3) for batch in plain(shuffle=True)]
    torch.manual_seed(7)
    guarded = GuardedLoader(plain(shuffle=True))
    assert [batch.tolist() for _ in range(3) for batch in guarded] == alone


def test_accumulated_batches_come_as_a_list_and_are_skipped_as_one_step() -> None:
    run = Run(plain(), mode="off")
    order, seen = Order("rollback", {"to": 9}), []
    for step, micro_batches in run.guard.batches(plain(), accumulate=4, steps=20):
        if step == 12 and order.result is None:
            run.emitter.orders.append(order)
        seen.append([int(batch[0, 0]) for batch in micro_batches])
        run.guard.after_step(step, closs=1.0)
    stream = [2 * (i % 6) for i in range(400)]
    assert seen == [stream[4 * i : 4 * i + 4] for i in range(len(seen))]
    assert order.result is not None
    assert len(seen) == 20 + 3


def test_a_step_that_is_not_closed_is_named() -> None:
    run = Run(plain())
    with pytest.raises(RuntimeError, match=r"call Guard\.after_step\(0, …\)"):
        for _ in run.guard.batches(plain(), steps=3):
            pass


def test_a_number_of_epochs_ends_the_batches() -> None:
    run = Run(plain())
    steps = [run.step(step, batch) for step, batch in run.guard.batches(plain(), epochs=2)]
    assert steps == list(range(1, 13))


def test_a_pass_that_was_broken_off_is_followed_by_a_new_epoch() -> None:
    guarded = GuardedLoader(plain())
    next(iter(guarded))
    assert len(list(guarded)) == 6
    assert guarded.epoch == 2


@pytest.mark.parametrize("sampler", [plain(), object(), iter([1, 2])])
def test_what_cannot_be_put_back_is_said_once_and_is_no_error(sampler: Any) -> None:
    emitter, model = Emitter(), nn.Linear(1, 1)
    guard = Guard(
        model,
        torch.optim.SGD(model.parameters()),
        sampler=sampler,
        emitter=emitter,  # type: ignore[arg-type]
    )
    guard.start()
    ((_, note),) = emitter.kinds("note")
    assert "the order of the data is not restored" in note["text"]


def test_an_iterator_goes_on_where_it_is_and_the_guard_says_so() -> None:
    run = Run(iter([torch.tensor([[float(i), 0.0]]) for i in range(100)]))
    seen = run.batches(20, {12: Order("rollback", {"to": 9, "data": "replay"})})
    assert [batch[0][0] for _, batch in seen] == [float(i) for i in range(23)]
    assert "an iterator, which begins only once" in run.emitter.kinds("note")[0][1]["text"]


def test_a_replay_without_a_sampler_says_that_nothing_is_replayed() -> None:
    run = Run(None)
    step = run.guard.start()
    while step < 30:
        if step in (12, 22):
            run.emitter.orders.append(Order("rollback", {"data": "replay"}))
        step = run.step(step, torch.ones(1, 2))
        if len(run.seen) > 60:
            break
    notes = [data["text"] for _, data in run.emitter.kinds("note")]
    assert len([text for text in notes if "nothing is replayed" in text]) == 1


def prepared() -> Any:
    accelerate = pytest.importorskip("accelerate")
    return accelerate.Accelerator(cpu=True).prepare(plain(shuffle=True))


def test_a_loader_that_accelerate_prepared_replays_and_resumes(tmp_path: Path) -> None:
    quiet = by_step(Run(prepared()).batches(40))
    run = Run(prepared(), tmp_path)
    back = {27: Order("rollback", {"to": 9, "data": "replay"}), 30: Order("checkpoint")}
    again = run.batches(34, back)
    assert len(again) == 34 + 18
    assert by_step(again) == {step: quiet[step] for step in range(34)}
    resumed = by_step(Run(prepared(), tmp_path).batches(40))
    assert resumed == {step: quiet[step] for step in range(31, 40)}


def test_torchdata_replays_and_resumes(tmp_path: Path) -> None:
    torchdata = pytest.importorskip("torchdata.stateful_dataloader")

    def loader() -> Any:
        torch.manual_seed(1)  # of which it draws when it is made
        return torchdata.StatefulDataLoader(Numbers(), batch_size=2, shuffle=True, num_workers=2)

    def indices(seen: list[Any]) -> dict[int, Any]:  # of its workers it keeps no random streams
        return {step: [sample[0] for sample in batch] for step, batch in seen}

    quiet = indices(Run(loader()).batches(40))
    run = Run(loader(), tmp_path)
    back = {27: Order("rollback", {"to": 9, "data": "replay"}), 30: Order("checkpoint")}
    again = run.batches(34, back)
    assert len(again) == 34 + 18
    assert indices(again) == {step: quiet[step] for step in range(34)}
    resumed = indices(Run(loader(), tmp_path).batches(40))
    assert resumed == {step: quiet[step] for step in range(31, 40)}


def dealt() -> DataLoader[torch.Tensor]:
    """Rank 1's half of the samples, by two workers."""
    sampler = DistributedSampler(Numbers(20), num_replicas=2, rank=1, seed=4)
    return DataLoader(Numbers(20), batch_size=2, sampler=sampler, num_workers=2)


def steps_of_two(run: Run, steps: int, orders: Mapping[int, Order] | None = None) -> Any:
    """A script's own epochs of five batches, of which a step takes two: steps cross their ends."""
    waiting, loader = dict(orders or {}), run.guard.loader(run.loader, accumulate=2)
    step, epoch, drawn = run.guard.start(), loader.epoch, []
    while step < steps:
        run.loader.sampler.set_epoch(epoch)
        for batch in loader:
            drawn.append(batch)
            if len(drawn) < 2:
                continue
            run.emitter.orders += [waiting.pop(step)] if step in waiting else []
            step, drawn = run.step(step, torch.cat(drawn)), []
            if step >= steps:
                break
        epoch += 1
    run.guard.close()
    return run.seen


def test_workers_a_distributed_sampler_epochs_and_accumulation_go_back_together(
    tmp_path: Path,
) -> None:
    quiet = steps_of_two(Run(dealt()), 24)
    assert len({tuple(batch[0]) for _, batch in quiet}) > 12, "another order in every epoch"
    back = {17: Order("rollback", {"to": 4, "data": "replay"})}
    again = steps_of_two(Run(dealt()), 24, back)
    assert [step for step, _ in again] == [*range(18), *range(5, 24)]
    assert by_step(again[:18]) == by_step(quiet[:18])
    assert by_step(again) == by_step(quiet)
    steps_of_two(Run(dealt(), tmp_path), 14, {12: Order("checkpoint")})
    resumed = Run(dealt(), tmp_path)
    torch.manual_seed(99)
    seen = steps_of_two(resumed, 24)
    assert [step for step, _ in seen] == list(range(13, 24))
    assert by_step(seen) == {step: dict(quiet)[step] for step in range(13, 24)}


class Ending(list[int]):
    """A loader with an `end` of its own, which nobody asked for."""

    ended = 0

    def end(self) -> None:
        self.ended += 1


def test_only_the_loader_of_accelerate_is_told_that_a_pass_is_broken_off() -> None:
    for counts_passes in (False, True):
        inner = Ending([1, 2, 3])
        if counts_passes:
            inner.gradient_state = None  # type: ignore[attr-defined]
        loader = GuardedLoader(inner)
        passes = iter(loader)
        assert next(passes) == 1
        state = loader.state_dict()
        assert next(passes) == 2
        loader.load_state_dict(state)
        assert next(passes) == 2
        assert inner.ended == counts_passes


def test_a_pass_behind_a_skip_goes_on_from_there() -> None:
    loader = GuardedLoader([1, 2, 3, 4, 5])
    loader.skip(2)
    assert list(loader) == [3, 4, 5]
    assert list(loader) == [1, 2, 3, 4, 5]
    pairs = GuardedLoader([1, 2, 3, 4, 5], accumulate=2)
    pairs.skip(1)
    assert list(pairs) == [3, 4, 5]
