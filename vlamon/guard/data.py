"""The order of the data under any loader: which batch comes next after a rollback or a resume.

    loader = guard.loader(loader)
    step = guard.start()
    for epoch in range(loader.epoch, epochs):
        for batch in loader:
            ...
            step = guard.after_step(step, closs=loss)

A loader with a state of its own (torchdata's StatefulDataLoader) is asked for it, and iterated
again when it is put back: such a state acts at the next `iter()`. A plain `DataLoader` gets the
random streams of the epoch's beginning again and is wound forward; what it is made of (workers,
shuffling, a DistributedSampler, Accelerate's wrapper) then deals the same batches. Winding loads
the batches that it passes, so that workers draw as many random numbers as they did.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from vlamon.guard.state.capture import (
    Stateful,
    capture_host_rng,
    capture_rng,
    restore_host_rng,
    restore_rng,
)

INSIDE = ("sampler", "batch_sampler", "base_dataloader", "dataset")
"""Where a loader keeps what decides its order."""
COUNTERS = ("epoch", "iteration")
"""What those count by themselves, or are told with `set_epoch`."""


class GuardedLoader:
    """A loader whose position is part of every snapshot; iterate it instead of the loader itself.

    One pass over it is one epoch. After a rollback within a pass the same pass goes on from the
    right batch, if need be through the rest of the epoch before.
    """

    def __init__(self, loader: Iterable[Any], accumulate: int = 1) -> None:
        """`accumulate` is the number of batches that a step of the guard takes."""
        self.loader: Any = loader
        self.accumulate = accumulate
        self.epoch = 0
        """Number of the epoch that the next batch is of."""
        self.batch = 0
        """Batches of it that were handed out."""
        self._iterator: Iterator[Any] | None = None
        self._began: dict[str, Any] | None = None
        """Random streams and counters at the beginning of the epoch; None before it."""
        self._before_last: dict[str, Any] | None = None
        """Random streams before the last batch was asked for: Accelerate's loader has loaded the
        next one by then."""
        self._inner: Any = None
        """State of a loader that has one, to be put back before the next batch."""
        self._counters: dict[int, list[int]] = {}
        """Of every epoch that began: what samplers counted then, which a loop sets only once."""
        self._placed = False
        """Whether the position was put back: the next pass goes on from it."""

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        if name == "loader":
            raise AttributeError(name)  # while it is being copied
        return getattr(self.loader, name)

    def __iter__(self) -> Iterator[Any]:
        if self.batch and not self._placed:  # a pass was broken off: begin the next epoch
            self._end_epoch()
        self._placed = False
        last = self.epoch
        while self.epoch <= last:
            if self._iterator is None:
                self._open_iterator()
                continue
            self._before_last = capture_host_rng()
            try:
                batch = next(self._iterator)
            except StopIteration:
                self._end_epoch()
                continue
            self.batch += 1
            yield batch

    def endless(self) -> Iterator[Any]:
        """Pass after pass."""
        empty = 0
        while empty < 3:  # a skip beyond an end may leave a pass without a batch
            empty += 1
            for batch in self:
                empty = 0
                yield batch
        raise ValueError("the loader has no batches")

    @property
    def repeats(self) -> bool:
        """Whether it can be iterated again; what an iterator has handed out does not come back."""
        return not isinstance(self.loader, Iterator)

    def skip(self, steps: int) -> None:
        """Leave out the batches of so many steps."""
        count = steps * self.accumulate
        if not self.repeats:
            for _ in range(count):
                next(self.loader)
            return
        self._inner = self._inner if self._iterator is None else self._state_of_loader()
        self._leave()
        self._before_last = None
        self.batch += count
        self._placed = True

    def state_dict(self) -> dict[str, Any]:
        """The position, and what it takes to get there again."""
        inner = self._inner if self._iterator is None else self._state_of_loader()
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "began": self._began,
            "before_last": self._before_last,
            "loader": inner,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there; the batches are wound forward when the next one is asked for."""
        if not self.repeats:
            return
        self._leave()
        self.epoch, self.batch = int(state["epoch"]), int(state["batch"])
        self._began, self._inner = state["began"], state["loader"]
        self._before_last = state["before_last"]
        self._placed = True
        if self._began is not None:
            self._counters[self.epoch] = list(self._began["counters"])

    def _leave(self) -> None:
        """Drop the iterator, and its workers with it."""
        if self._iterator is None:
            return
        with contextlib.suppress(Exception):  # it belongs to a loader that is left anyway
            self._iterator.close()  # type: ignore[attr-defined]  # of a generator
        end = getattr(self.loader, "end", None)
        if callable(end) and hasattr(self.loader, "gradient_state"):  # Accelerate counts passes
            end()
        self._iterator = None

    def _end_epoch(self) -> None:
        self._iterator, self._began, self._inner = None, None, None
        self.epoch, self.batch = self.epoch + 1, 0

    def _open_iterator(self) -> None:
        """An iterator whose next batch is the one of this position."""
        streams = capture_rng()
        done, begins = 0, self._began is None
        if self._began is None:
            self._count()
            self._began = self._beginning()
        try:
            if self._inner is not None:
                self.loader.load_state_dict(self._inner["state"])
                done, self._inner = int(self._inner["batch"]), None
            else:
                self._put_back(self._began)
            self._iterator = iter(self.loader)
            while done < self.batch:
                if done == self.batch - 1 and self._before_last is not None:
                    restore_host_rng(self._before_last)
                next(self._iterator)
                done += 1
        except StopIteration:  # what was skipped goes beyond the end of the epoch
            left = self.batch - done
            self._end_epoch()
            self.batch = left if done else 0
            self._placed = True
        finally:
            if not begins or done:
                restore_rng(streams)

    def _state_of_loader(self) -> dict[str, Any] | None:
        """What a stateful loader says of itself; None where it has to be wound forward.

        Accelerate's loaders have the method, and raise where the loader inside lacks it.
        """
        try:
            state = self.loader.state_dict()
        except Exception:
            return None
        return {"state": state, "batch": self.batch}

    def _beginning(self) -> dict[str, Any]:
        return {
            "rng": capture_rng([generator for _, generator in self._generators()]),
            "counters": [getattr(each, name) for each, name in self._counting()],
        }

    def _put_back(self, began: Mapping[str, Any]) -> None:
        generators = [generator for _, generator in self._generators()]
        if len(began["rng"]["own"]) == len(generators):
            restore_rng(began["rng"], generators)
        self._set(began["counters"])

    def _count(self) -> None:
        """An epoch that begins again after a rollback counts as it did, and one after a resume is
        told its number where samplers are told it by the loop."""
        if self.epoch in self._counters:
            self._set(self._counters[self.epoch])
        before = self._counters.get(self.epoch - 1)
        for index, (each, name) in enumerate(self._counting()):
            set_by_loop = self.epoch > 1 and before is not None and before[index] == self.epoch - 1
            if set_by_loop and getattr(each, name) < self.epoch:
                setattr(each, name, self.epoch)
        self._counters[self.epoch] = [getattr(each, name) for each, name in self._counting()]

    def _set(self, counters: Iterable[int]) -> None:
        for (each, name), value in zip(self._counting(), counters, strict=False):
            setattr(each, name, value)

    def _counting(self) -> list[tuple[Any, str]]:
        return [
            (each, name)
            for each in _inside(self.loader)
            for name in COUNTERS
            if type(vars(each).get(name)) is int
        ]

    def _generators(self) -> list[tuple[Any, Any]]:
        kinds = (torch.Generator, np.random.Generator, random.Random)
        found: dict[int, tuple[Any, Any]] = {}
        for each in _inside(self.loader):
            for value in vars(each).values():
                if isinstance(value, kinds):
                    found.setdefault(id(value), (each, value))
        return list(found.values())


def _inside(loader: Any) -> list[Any]:
    """The loader, its samplers and its data set: everything that may decide the order."""
    found: dict[int, Any] = {}
    waiting = [loader]
    while waiting:
        each = waiting.pop(0)
        if id(each) in found or not hasattr(each, "__dict__"):
            continue
        found[id(each)] = each
        waiting += [vars(each)[name] for name in INSIDE if name in vars(each)]
    return list(found.values())


def order_of(sampler: Any) -> Stateful | None:
    """What a guard can put back of what it was given as `sampler`.

    Nothing of a loader that the script iterates by itself: a plain one has no state, and that of a
    StatefulDataLoader acts at the next `iter()`, which may be epochs later.
    """
    if isinstance(sampler, GuardedLoader):
        return sampler
    if isinstance(sampler, DataLoader) or not isinstance(sampler, Stateful):
        return None
    return sampler
