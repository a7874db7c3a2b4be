"""Durable checkpoints of a running training: copied at a step boundary, written beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vlamon.guard import agreement
from vlamon.guard.durable import Durable, DurableError, Loaded, Writer, Written
from vlamon.guard.orders import Order
from vlamon.guard.reporting import Reporter
from vlamon.guard.ring import Slot
from vlamon.guard.state import Tree, cuda_runs
from vlamon.guard.tree import join, split

OWN = ("sampler", "detectors")
"""Parts that differ from rank to rank; model, optimizers and schedulers are replicas."""


class Checkpoints:
    """Writes whole states to `run_dir/checkpoints` without holding the training up."""

    def __init__(self, root: Path | None, keep: int, reporter: Reporter) -> None:
        self.durable = Durable(root, keep) if root else None
        self._writer = Writer(self.durable) if self.durable else None
        self._staging = Slot()
        self._reporter = reporter
        self.newest: Written | None = None
        """Last checkpoint that this process wrote or loaded."""
        self.begun: int | None = None
        """Step of the last write that was begun; unlike `newest`, every rank knows it."""

    @property
    def busy(self) -> bool:
        """Whether a checkpoint is being written."""
        return self._writer is not None and self._writer.busy

    def save(self, step: int, state: Tree, meta: Mapping[str, Any], order: Order | None) -> None:
        """Copy the state and begin to write it; the answer to `order` comes when it is on disk."""
        if _sharded(state):
            text = (
                "no checkpoint: the parameters are sharded (FSDP), and this rank has its own only"
            )
            self._reporter.event("checkpoint", step, text, "error", ok=False)
            if order:
                order.refuse(f"{text}; torch.distributed.checkpoint writes such states")
            return
        state = _for_all_ranks(state)
        if self._writer is None:
            if order:
                order.refuse("this training was given no run directory to write checkpoints to")
            return
        if self._writer.busy:
            self._writer.wait()
        self.begun = step
        if agreement.rank() != 0:
            return
        self._staging.fill(state)
        if cuda_runs():
            import torch

            torch.cuda.synchronize()
        self._writer.start(step, self._staging.state(), meta, order)

    def poll(self) -> None:
        """Tell how writes ended."""
        if self._writer is None:
            return
        for order, outcome in self._writer.outcomes():
            if isinstance(outcome, DurableError):
                self._reporter.event("checkpoint", -1, str(outcome), "error", ok=False)
                if order:
                    order.refuse(str(outcome))
                continue
            self.newest = outcome
            done: dict[str, Any] = {
                "step": outcome.step,
                "path": str(outcome.path),
                "seconds": round(outcome.seconds, 3),
                "bytes": outcome.bytes,
            }
            text = f"checkpoint of step {outcome.step} in {outcome.path} ({outcome.seconds:.2f} s)"
            told = {name: value for name, value in done.items() if name != "step"}
            self._reporter.event("checkpoint", outcome.step, text, ok=True, **told)
            if order:
                order.done(done)

    def load(self, accept: Callable[[Loaded], bool] | None = None) -> Loaded | None:
        """The newest checkpoint that is whole and that `accept` likes; corrupt ones are told."""
        if self.durable is None:
            return None
        for path in self.durable.candidates():
            try:
                loaded = self.durable.load(path)
            except DurableError as error:
                self._reporter.event(
                    "checkpoint", -1, f"{error}; the one before it is used", "error", ok=False
                )
                continue
            if loaded is not None and (accept is None or accept(loaded)):
                return Loaded(loaded.step, loaded.path, _of_this_rank(loaded.state), loaded.meta)
        return None

    def close(self) -> None:
        """Wait for a write under way and tell how it ended."""
        if self._writer is not None:
            self._writer.wait()
            self.poll()


def _sharded(state: Tree) -> bool:
    """Whether parameters are DTensors, of which every rank holds a part."""
    return agreement.world() > 1 and any(
        hasattr(parameter, "to_local") for parameter in state["parts"]["model"].values()
    )


def _for_all_ranks(state: Tree) -> Tree:
    """Rank 0's state with every rank's own part: sampler, detectors, random numbers."""
    if agreement.world() == 1:
        return state
    own = {name: part for name, part in state["parts"].items() if name in OWN}
    skeleton, tensors = split({"parts": own, "rng": state["rng"]})
    mine = (skeleton, [tensor.cpu() for tensor in tensors])
    ranks = [join(*each) for each in agreement.everyone(mine)]
    return {**state, "ranks": ranks}


def _of_this_rank(state: Tree) -> Tree:
    ranks = state.get("ranks")
    if not ranks:
        return {"parts": state["parts"], "rng": state["rng"]}
    if len(ranks) != agreement.world():
        raise DurableError(
            f"the checkpoint was written by {len(ranks)} ranks, this training has "
            f"{agreement.world()}: start it with as many"
        )
    own = ranks[agreement.rank()]
    return {"parts": {**state["parts"], **own["parts"]}, "rng": own["rng"]}
