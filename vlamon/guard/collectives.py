"""Decides on all ranks together: each has a ballot of a few numbers, and their sum is the decision.

A sum, so that a training's own reduction can carry it: append `Guard.ballot(...)` to what is
all-reduced and hand the summed part back. Commands reach rank 0 alone and travel in the
same numbers, so no rank ever waits for another one's socket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from vlamon.guard.command_queue import NUMBERS, AgreedCommand, CommandCode

SEEN = 5
"""Numbers that say what a rank saw."""


def world() -> int:
    """Number of ranks; 1 outside of torch.distributed."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


def rank() -> int:
    """Number of this rank."""
    return dist.get_rank() if world() > 1 else 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What all ranks together saw and what they were asked to do."""

    exploded: int
    """Ranks on which a component exploded."""
    warned: int
    """Ranks on which one warned."""
    writing: int
    """Ranks that are still writing a checkpoint: none may begin another one alone."""
    known: int
    """Ranks on which a reported explosion goes on; they count as warned."""
    ending: int
    """Ranks that are asked to end the training: a signal reaches one of them alone."""
    command: CommandCode | None
    """A command to carry out now, the same on every rank."""


def cast(
    level: str, command: AgreedCommand | None, writing: bool = False, ending: bool = False
) -> torch.Tensor:
    """This rank's ballot; level `known` is an explosion that there is nothing to decide on."""
    return torch.tensor(_numbers(level, command, writing, ending), dtype=torch.float64)


def _numbers(level: str, command: AgreedCommand | None, writing: bool, ending: bool) -> list[float]:
    """A ballot's numbers."""
    exploded, known = level == "explode", level == "known"
    seen = (exploded, known or level == "warn", writing, known, ending)
    code = (0,) * NUMBERS if command is None else command.code.numbers()
    return [*map(float, seen), *code]


def decided(
    level: str, command: AgreedCommand | None, writing: bool = False, ending: bool = False
) -> Outcome:
    """The decision of all ranks by a reduction of our own; one rank decides without a tensor."""
    if world() == 1:
        return _outcome(_numbers(level, command, writing, ending))
    return count(reduced(cast(level, command, writing, ending)))


def count(ballots: torch.Tensor) -> Outcome:
    """The decision, from the sum of all ballots."""
    return _outcome(ballots.tolist())


def _outcome(numbers: Sequence[float]) -> Outcome:
    exploded, warned, writing, known, ending = map(int, numbers[:SEEN])
    return Outcome(exploded, warned, writing, known, ending, CommandCode.of(numbers[SEEN:]))


def reduced(ballot: torch.Tensor) -> torch.Tensor:
    """The sum over ranks, for a training without a reduction of its own to be part of."""
    if world() == 1:
        return ballot
    if dist.get_backend() == "nccl":
        device = torch.device("cuda", torch.cuda.current_device())
        # NCCL moves device memory only; f64 survives the trip.
        there = ballot.to(device)
        dist.all_reduce(there)
        return there.cpu()
    dist.all_reduce(ballot)
    return ballot


def on_all_ranks(verdict: torch.Tensor) -> torch.Tensor:
    """Whether this holds on every rank. With NCCL the answer stays on the device, unwaited for."""
    return verdict if world() == 1 else least_on_all_ranks(verdict).bool()


def least_on_all_ranks(numbers: torch.Tensor) -> torch.Tensor:
    """The least of each number over ranks, in one reduction that is not waited for."""
    if world() == 1:
        return numbers
    there = numbers.to(_carrier(numbers.device), torch.float32)
    dist.all_reduce(there, dist.ReduceOp.MIN)
    return there


def summed(number: torch.Tensor) -> torch.Tensor:
    """The sum over ranks, which is not waited for."""
    if world() == 1:
        return number
    there = number.to(_carrier(number.device), torch.float32)
    dist.all_reduce(there)
    return there.to(number.device)


def _carrier(device: torch.device) -> torch.device:
    """Where a tensor must live to be reduced: the same on every rank, whatever each of them has."""
    match dist.get_backend():
        case "nccl":
            return torch.device("cuda", torch.cuda.current_device())
        case "gloo" | "mpi":
            return torch.device("cpu")
        case _:  # a backend for each kind of device
            return device


def everyone(mine: Any) -> list[Any]:
    """One object of every rank, in rank order; for the rare moments after an explosion."""
    if world() == 1:
        return [mine]
    found: list[Any] = [None] * world()
    dist.all_gather_object(found, mine)
    return found
