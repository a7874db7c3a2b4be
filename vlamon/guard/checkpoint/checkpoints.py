"""Durable checkpoints of a running training: copied at a step boundary, written beside it.

Where parameters are replicas (one rank, DDP) rank 0 writes, with every rank's own part; where they
are sharded every rank writes its pieces and rank 0 puts the checkpoint in force.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from vlamon.guard import collectives
from vlamon.guard.checkpoint.index import Index
from vlamon.guard.checkpoint.writer import Durable, DurableError, Loaded, Writer, Written
from vlamon.guard.command_queue import AgreedCommand
from vlamon.guard.out_of_memory import NoMemory, memory_for
from vlamon.guard.reporting import Reporter
from vlamon.guard.ring import Slot
from vlamon.guard.settings import GuardSettings
from vlamon.guard.state.capture import LADDER, TrainingState, Tree, cuda_runs
from vlamon.guard.state.tree import UnknownValue, join, split, to_json

T = TypeVar("T")
OWN = ("sampler", "detectors", LADDER)
"""Parts that differ from rank to rank; model, optimizers and schedulers are replicas or shards."""


class Checkpoints:
    """Writes whole states to `run_dir/checkpoints` without holding the training up."""

    def __init__(
        self, root: Path | None, settings: GuardSettings, reporter: Reporter, trust_after: int
    ) -> None:
        self.durable = Durable(root, settings.keep) if root else None
        self._writer = Writer(self.durable) if self.durable else None
        self._group = _Writers(settings.stall)
        self._staging = Slot()
        self._reporter = reporter
        self._session = ""
        """The same on all ranks once they have agreed on it."""
        self._number = 0
        self.index = Index(trust_after)
        """What this training can return to; which of it is on disk, rank 0 alone knows."""
        self.begun: int | None = None
        """Step of the last write that this branch began; every rank knows it."""

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._writer is not None and self._writer.busy

    def save(
        self,
        step: int,
        training: TrainingState,
        meta: Mapping[str, Any],
        command: AgreedCommand | None,
    ) -> None:
        """Copy the state and begin to write it; `command` is answered when it is on disk."""
        self._agree()
        if self._writer is None:
            if command:
                command.refuse("this training was given no run directory to write checkpoints to")
            return
        self.close()
        self.begun = step
        self.index.begin(step)
        self._writer.durable.spared.clear()
        self._writer.durable.spared.update(self.index.spared())
        if training.sharded():
            self._save_shards(step, training, meta, command)
        else:
            self._save_whole(step, training, meta, command)

    def _save_whole(
        self,
        step: int,
        training: TrainingState,
        meta: Mapping[str, Any],
        command: AgreedCommand | None,
    ) -> None:
        assert self._writer is not None
        state, why = _with_memory(training.capture)
        state = _for_all_ranks(state, meta)
        if collectives.rank():
            return
        if state is None:
            self._give_up(step, why or "a rank has no memory for its part of the state", command)
            return
        staged, why = self._stage(state)
        if staged is None:
            self._give_up(step, why, command)
        else:
            self._writer.start(step, staged, meta, (step, command))

    def _save_shards(
        self,
        step: int,
        training: TrainingState,
        meta: Mapping[str, Any],
        command: AgreedCommand | None,
    ) -> None:
        from vlamon.guard.checkpoint.sharded import Shards

        assert self._writer is not None
        rank = collectives.rank()
        cut, why = _with_memory(lambda: training.for_disk(rank))
        staged = None
        if cut is not None:
            staged, why = self._stage(cut[0])
        # A rank that cannot write must say so here: the others would wait for it in DCP's plan.
        said = collectives.everyone((why and f"rank {rank}: {why}", self._group.broken))
        failures = [failure for failure, _ in said if failure]
        if staged is None or cut is None or failures:
            self._give_up(step, failures[0], command)
            return
        self._group.open(again=any(broken for _, broken in said))
        shards = Shards(rank, collectives.world(), cut[1], self._group.ranks)
        self._number += 1
        session = f"{self._session}.{self._number}"
        durable = self._writer.durable
        write = partial(durable.write_shards, step, staged, shards, session, dict(meta))
        self._writer.begin(step, partial(self._group.watch, write), (step, command))

    def _stage(self, state: Tree) -> tuple[Tree | None, str]:
        """A copy that stays as it is; None, and why, where there is no memory for it."""
        try:
            self._staging.fill(state)
            if cuda_runs():
                torch.cuda.synchronize()
        except NoMemory as error:
            return None, str(error)
        return self._staging.state(), ""

    def _give_up(self, step: int, why: str, command: AgreedCommand | None) -> None:
        """A checkpoint that could not even be begun."""
        self.index.failed(step)
        text = f"checkpoint of step {step} was not written: {why}"
        self._reporter.event("checkpoint", step, text, "error", ok=False)
        if command:
            command.refuse(text)

    def _agree(self) -> None:
        """Once: every rank writes into rank 0's directory, under names of the same session."""
        if self._session:
            return
        root = str(self.durable.root.resolve()) if self.durable else None
        mine = (root, f"{os.getpid()}-{secrets.token_hex(4)}")
        root, self._session = collectives.everyone(mine)[0]
        if collectives.rank() == 0:
            return
        keep = self.durable.keep if self.durable else 1
        self.durable = Durable(Path(root), keep) if root else None
        self._writer = Writer(self.durable) if self.durable else None

    def poll(self) -> None:
        """Report how writes ended."""
        if self._writer is None:
            return
        for (step, command), outcome in self._writer.outcomes():
            if isinstance(outcome, DurableError):
                self.index.failed(step)
                self._reporter.event("checkpoint", -1, str(outcome), "error", ok=False)
                if collectives.rank():
                    logging.getLogger("vlamon.guard").error("%s", outcome)
                if command:
                    command.refuse(str(outcome))
                continue
            self.index.written(step, outcome.path)
            done: dict[str, Any] = {
                "step": outcome.step,
                "path": str(outcome.path),
                "seconds": round(outcome.seconds, 3),
                "bytes": outcome.bytes,
            }
            text = f"checkpoint of step {outcome.step} in {outcome.path} ({outcome.seconds:.2f} s)"
            details = {name: value for name, value in done.items() if name != "step"}
            self._reporter.event("checkpoint", outcome.step, text, ok=True, **details)
            if command:
                command.done(done)

    def load(self, training: TrainingState) -> Loaded | None:
        """The newest checkpoint that is whole, to resume from; None where there is none at all.

        Where there are some and all are damaged, it is an error: to start over in silence would
        throw away what can perhaps be saved.
        """
        self._agree()
        if self.durable is None:
            return None
        if collectives.rank() == 0:
            self.durable.clear()
        paths = [self.durable.root / name for name in self._names()]
        damaged: list[str] = []
        for path in paths:
            try:
                loaded, why = self._read(training, path)
            except NoMemory as error:  # the one before it would cost steps for nothing
                raise DurableError(f"{path} cannot be loaded: {error}") from error
            if loaded is None:
                damaged.append(why)
                continue
            for said in damaged:
                text = f"{said}; the one before it is used"
                self._reporter.event("checkpoint", -1, text, "error", ok=False)
            self.index.found(paths, path, loaded.step)
            return loaded
        if damaged:
            raise DurableError(
                f"no checkpoint can be loaded: {'; '.join(damaged)}; bring back a copy of one, or "
                f"move {self.durable.root} away to start over"
            )
        return None

    def reload(self, training: TrainingState, step: int) -> Loaded | None:
        """The checkpoint of a step; one that cannot be read is reported and forgotten."""
        self.close()  # it may be the one that is being written
        path = self.index.path(step)
        name = collectives.everyone(path and path.name)[0]
        loaded, why, lost = None, "it was not written", True
        if self.durable is not None and name:
            try:
                loaded, why = self._read(training, self.durable.root / name)
            except NoMemory as error:
                why, lost = str(error), False
        if loaded is None:
            if lost:
                self.index.lost(step)
            text = f"the checkpoint of step {step} cannot be returned to: {why}"
            self._reporter.event("checkpoint", -1, text, "error", ok=False)
        return loaded

    def _read(self, training: TrainingState, path: Path) -> tuple[Loaded | None, str]:
        """A checkpoint and an empty string; or None, and why, where any rank cannot read it.

        `NoMemory` on all ranks where one lacks it.
        """
        assert self.durable is not None
        live = training.live(collectives.rank())
        loaded, failure, lack = None, "", ""
        try:
            with memory_for(f"the content of {path}"):
                loaded = self.durable.load(path, collectives.rank(), live)
        except DurableError as error:
            failure = str(error)
        except NoMemory as error:
            lack = str(error)
        said = collectives.everyone((failure, lack))
        if lacks := [lack for _, lack in said if lack]:
            raise NoMemory(lacks[0])
        failures = [failure for failure, _ in said if failure]
        if loaded is None or failures:
            return None, next(iter(failures), "")
        found = _of_this_rank(loaded)
        return replace(found, state={**found.state, "by_name": True}), ""

    def _names(self) -> list[str]:
        """Rank 0's list."""
        mine = [] if self.durable is None else [path.name for path in self.durable.candidates()]
        names: list[str] = collectives.everyone(mine)[0]
        return names

    def exist(self) -> bool:
        """Whether a resume would find a checkpoint, of whatever branch; asked by all ranks."""
        return bool(collectives.everyone(self.busy)[0] or self._names())

    def holds(self, step: int) -> bool:
        """Whether this very step is on disk or on its way there; asked by all ranks."""
        return step in collectives.everyone(self.index.steps(trusted_only=False))[0]

    def steps(self, trusted_only: bool) -> list[int]:
        """Steps that can be returned to, the newest first; asked by all ranks."""
        found: list[int] = collectives.everyone(self.index.steps(trusted_only))[0]
        return found

    def forget_after(self, step: int) -> None:
        """A rollback went back to this step: what is newer is of another branch."""
        self.index.forget_after(step)
        if self.begun is not None and self.begun > step:
            self.begun = None

    def resharded(self, loaded: Loaded) -> str:
        """What a resume on another number of ranks brought back, and what it could not."""
        left = loaded.state.get("left_alone", ())
        rest = (
            "their samplers stood at different places, so this one begins where the script put it"
            if "sampler" in left
            else "the sampler goes on where it was"
        )
        return (
            f"{loaded.path} was written by {loaded.ranks} ranks and resumed by "
            f"{collectives.world()}: parameters, optimizer and schedule are the same; {rest}; "
            "a rank beyond those has random streams of its own"
        )

    def close(self) -> None:
        """Wait for a write under way and report how it ended."""
        if self._writer is not None:
            self._writer.wait()
            self.poll()


@dataclass(slots=True)
class _Writers:
    """The ranks as one group that writes beside the training, over gloo whatever that uses."""

    timeout: float
    """Seconds that they wait for each other."""
    ranks: dist.ProcessGroup | None = None
    broken: bool = False
    """Whether the last write failed on this rank, which may have left an answer under way."""

    def open(self, again: bool) -> None:
        """Called by all ranks at a step boundary."""
        if not (dist.is_available() and dist.is_initialized()):
            return
        if self.ranks is not None and again:
            dist.destroy_process_group(self.ranks)
            self.ranks = None
        if self.ranks is None:
            self.ranks = dist.new_group(backend="gloo", timeout=timedelta(seconds=self.timeout))
        self.broken = False

    def watch(self, write: Callable[[], Written | None]) -> Written | None:
        """Write, and remember whether it failed."""
        try:
            return write()
        except BaseException:
            self.broken = True
            raise


def _with_memory(copy: Callable[[], T]) -> tuple[T | None, str]:
    """What it returns; None, and why, where there is no memory for it."""
    try:
        with memory_for("a copy of the state"):
            return copy(), ""
    except NoMemory as error:
        return None, str(error)


def _for_all_ranks(state: Tree | None, meta: Mapping[str, Any]) -> Tree | None:
    """Rank 0's state with every rank's own part: sampler, detectors, random numbers, skips.

    None where a rank has none.
    """
    if collectives.world() == 1:
        return state
    mine = None
    if state is not None:
        own = {name: part for name, part in state["parts"].items() if name in OWN}
        skeleton, tensors = split({"parts": own, "rng": state["rng"], "skips": meta["skips"]})
        mine = (skeleton, [tensor.cpu() for tensor in tensors])
    ranks = collectives.everyone(mine)
    if state is None or None in ranks:
        return None
    return {**state, "ranks": [join(*each) for each in ranks]}


def _of_this_rank(loaded: Loaded) -> Loaded:
    """Its own sampler, detectors and random streams, as far as there are such."""
    state, meta = dict(loaded.state), dict(loaded.meta)
    rank, world = collectives.rank(), collectives.world()
    if by_rank := state.pop("ranks", None):
        loaded = replace(loaded, ranks=len(by_rank), samplers_alike=_alike(by_rank))
        own = by_rank[rank if rank < len(by_rank) else 0]
        state = {"parts": {**state["parts"], **own["parts"]}, "rng": own["rng"]}
        meta["skips"] = own.get("skips", meta["skips"])
    left = []
    if loaded.ranks != world:
        if rank >= loaded.ranks:
            left.append("rng")
        if "sampler" in state["parts"] and not loaded.samplers_alike:
            left.append("sampler")
            meta["skips"] = {"ranges": []}
    return replace(loaded, state={**state, "left_alone": left}, meta=meta)


def _alike(by_rank: list[Tree]) -> bool:
    try:
        said = {json.dumps(to_json(each["parts"].get("sampler"))) for each in by_rank}
    except UnknownValue:
        return False
    return len(said) == 1
