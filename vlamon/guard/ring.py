"""The last few states in memory, and which of them can be trusted.

A snapshot is a *candidate* until the detectors have been quiet for long enough after it: a slow
divergence is seen late, and a snapshot taken while it was under way is no place to return to. The
newest trusted snapshot is never overwritten.

A slow divergence is older than that when it is seen. So the oldest slots are not simply the last
ones: what they hold stays until another one is old enough to stand in for it (`reach`).

Beside those, a few `near` slots take turns at a short distance. They are never old enough to be
trusted; a rollback proves the one that it uses.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from vlamon.guard.host_memory import Unchanged, total
from vlamon.guard.out_of_memory import NoMemory
from vlamon.guard.state.capture import Tree, cuda_runs
from vlamon.guard.state.tree import join, split, tensors_of


@dataclass(slots=True)
class Slot:
    """One preallocated place for a whole state."""

    step: int = -1
    """Last finished step of the state that it holds; meaningless while `filled` is false."""
    since: int = -1
    """Step that its age counts from: later than `step` where a loop counted on after a rollback."""
    filled: bool = False
    """Whether it holds a state."""
    trusted: bool = False
    """Whether the detectors stayed quiet for long enough after it."""
    time: float = 0.0
    """When it was taken, seconds since the epoch."""
    closs: float | None = None
    """closs of that step, for the dialog."""
    note: dict[str, Any] = field(default_factory=dict)
    """What the guard needs to know about it later: the sampler's place."""
    skeleton: Any = None
    tensors: list[torch.Tensor] = field(default_factory=list)
    borrowed: set[int] = field(default_factory=set)
    """Which of them other slots hold as well; nothing may be copied into those."""
    copied: torch.cuda.Event | None = None
    """CUDA: recorded when the copy on the side stream is done."""

    def state(self) -> Tree:
        """The state that it holds; the tensors are the slot's own."""
        if self.copied is not None:
            self.copied.synchronize()
        state: Tree = join(self.skeleton, self.tensors)
        return state

    @torch.no_grad()
    def fill(
        self,
        state: Tree,
        stream: torch.cuda.Stream | None = None,
        shared: Mapping[tuple[Any, ...], torch.Tensor] | None = None,
    ) -> None:
        """Copy a state in; on CUDA the copy runs on the side stream while the training goes on.

        `shared` has copies of tensors by their place in the state, to be held instead of others.
        """
        self.skeleton, live = split(state)
        held = self.make_room(state, live, shared or {})
        into, out_of = (
            [each for each, copy in zip(these, held, strict=True) if copy is None]
            for these in (self.tensors, live)
        )
        if not into:
            return
        if stream is None:
            torch._foreach_copy_(into, out_of)
            return
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            torch._foreach_copy_(into, out_of, non_blocking=True)
            self.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self.copied.record(stream)

    def make_room(
        self,
        state: Tree,
        live: Sequence[torch.Tensor],
        shared: Mapping[tuple[Any, ...], torch.Tensor],
    ) -> list[torch.Tensor | None]:
        """A place for every tensor, and for each the copy that it shares with other slots.

        `NoMemory`, and the slot as it was, where they do not fit.
        """
        held: list[torch.Tensor | None] = [None] * len(live)
        if shared:
            held = [shared.get(path) for path, _ in tensors_of(state)]
        own = [None if i in self.borrowed else place for i, place in enumerate(self.tensors)]
        own += [None] * (len(live) - len(own))
        try:
            self.tensors = [
                _place_for(tensor, place) if copy is None else copy
                for tensor, copy, place in zip(live, held, own, strict=False)
            ]
        except (RuntimeError, MemoryError) as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise NoMemory(
                f"no memory for a copy of the state, which takes {total(live)} ({reason})"
            ) from error
        self.borrowed = {i for i, copy in enumerate(held) if copy is not None}
        return held


def _place_for(tensor: torch.Tensor, place: torch.Tensor | None) -> torch.Tensor:
    """Memory for a copy: that which is there, else new memory, touched so that a lack shows now."""
    if place is not None and place.shape == tensor.shape and place.dtype == tensor.dtype:
        return place
    pinned = tensor.device.type == "cuda"
    return torch.zeros(tensor.shape, dtype=tensor.dtype, device="cpu", pin_memory=pinned)


class Ring:
    """K slots, of which the newest trusted one and one that is old enough are always kept."""

    def __init__(self, slots: int, trust_after: int, reach: int = 0, near: int = 0) -> None:
        """`trust_after`: quiet steps that turn a candidate into a trusted snapshot.

        `reach`: age at which a snapshot lies before the onset of nine of ten slow divergences.
        """
        if slots == 1:
            raise ValueError("a ring of one slot would have to overwrite what it can return to")
        self.slots = [Slot() for _ in range(slots)]
        self.near = [Slot() for _ in range(near if slots else 0)]
        self.trust_after = trust_after
        self.reach = reach
        self._stream: torch.cuda.Stream | None = None
        self._pending: Slot | None = None
        self._unchanged = Unchanged()

    def take(self, step: int, state: Tree, *, trusted: bool = False, **note: Any) -> Slot | None:
        """Copy the state of a finished step into the slot that can best be spared."""
        if not self.slots:
            return None
        return self._fill(self._spare(step), step, state, trusted, note)

    def take_near(self, step: int, state: Tree, **note: Any) -> Slot:
        """Copy the state of a finished step into the near slot that is empty or oldest."""
        slot = min(self.near, key=lambda slot: (slot.filled, slot.step))
        return self._fill(slot, step, state, False, note)

    def _fill(
        self, slot: Slot, step: int, state: Tree, trusted: bool, note: dict[str, Any]
    ) -> Slot:
        if self._stream is None and cuda_runs():
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        shared = self._unchanged.share(state)
        self._make_room(state, shared)
        slot.filled = False  # should the copy fail half-way, no rollback may return to it
        slot.fill(state, self._stream, shared)
        slot.step = slot.since = step
        slot.trusted, slot.filled = trusted, True
        slot.time = time.time()
        slot.closs = note.pop("closs", None)
        slot.note = note
        self._pending = slot if self._stream is not None else None
        return slot

    def _make_room(self, state: Tree, shared: Mapping[tuple[Any, ...], torch.Tensor]) -> None:
        """Memory for all empty slots at once: later steps only copy, and a lack shows early."""
        _, live = split(state)
        for slot in (*self.slots, *self.near):
            if not slot.filled:
                slot.make_room(state, live, shared)

    def fence(self) -> None:
        """Before weights change: make the training stream wait for a copy that still runs."""
        if self._pending is not None and self._pending.copied is not None:
            torch.cuda.current_stream().wait_event(self._pending.copied)
            self._pending = None

    def quiet_until(self, step: int) -> None:
        """The detectors were quiet up to this step: candidates that are old enough are trusted."""
        for slot in (*self.slots, *self.near):
            if slot.filled and not slot.trusted and step - slot.since >= self.trust_after:
                slot.trusted = True

    def forget_after(self, step: int) -> None:
        """Drop what was taken after this step: the branch that a rollback abandons."""
        for slot in (*self.slots, *self.near):
            if slot.step > step:
                slot.filled = False

    def count_on(self, steps: int) -> None:
        """A rollback went back by so many steps, and the loop's counter did not: ages stay."""
        for slot in self.held():
            slot.since += steps

    def forget(self, slot: Slot) -> None:
        """Drop a snapshot that did not help."""
        slot.filled = False

    def held(self) -> list[Slot]:
        """All snapshots, oldest first."""
        filled = (slot for slot in (*self.slots, *self.near) if slot.filled)
        return sorted(filled, key=lambda slot: slot.step)

    def trusted(self, to: int | None = None) -> Slot | None:
        """The newest trusted snapshot, not after step `to` if that is given."""
        found = [s for s in self.held() if s.trusted and (to is None or s.step <= to)]
        return found[-1] if found else None

    def oldest_trusted(self) -> Slot | None:
        """The trusted snapshot that goes back furthest."""
        return next((slot for slot in self.held() if slot.trusted), None)

    def _spare(self, step: int) -> Slot:
        """An empty slot, else the oldest where another is old enough, else the newest but one.

        With four slots, a spacing of 76 and a reach of 288 that leaves states of age 0, 76, 152 to
        304 and 304 to 456. An oldest that nothing replaces (three slots) goes at twice the reach.
        """
        for slot in self.slots:
            if not slot.filled:
                return slot
        newest = self.trusted()
        held = sorted(self.slots, key=lambda slot: slot.step)
        others = [slot for slot in held if slot.trusted and slot is not newest]
        if not others:
            return next(slot for slot in held if slot is not newest)
        ages = [step - slot.since for slot in others]
        two_are_old = len(ages) > 1 and ages[1] >= self.reach
        return others[0] if two_are_old or ages[0] > 2 * self.reach else others[-1]
