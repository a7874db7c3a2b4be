"""How many steps a fault costs, and whether the training survives it.

`python -m tests.bench.steps_lost [--seeds 20] [--policy near far]`: a small training with the
guard's default settings and one fault, before the first snapshot is trusted and with trusted ones
at hand. `far` is a guard that returns to trusted snapshots alone. Steps are counted, so the load of
the machine does not matter.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import statistics
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from unittest import mock

import numpy as np
import torch

from tests.bench import traces
from tests.vlamon.guard.test_slow import guard_over
from tests.vlamon.guard.toy import Emitter, Toy, far_off
from vlamon.guard import rollback, snapshots
from vlamon.guard.choice import Trouble, trusted_first
from vlamon.guard.rollback import Request
from vlamon.guard.snapshots import Candidate

AT = (60, 201, 400)
"""Steps from which the fault begins, each seed one later than the last: no snapshot is trusted yet,
the first one is, several are."""
AFTER = 60
"""Steps behind it."""
SURVIVED = 1.5
"""A run survives whose last losses are at most that many times those without a fault."""
LAST = 30
"""Steps of which the losses are compared."""
FRESH = 3_330_000
"""Traces from this seed on tuned no detector."""
DEFAULTS = {"every": 50, "patience": 12}

Clean = Mapping[tuple[int, int], float]
"""The last losses without a fault, by step and seed."""
LADDERS = (
    ("rollback",),
    ("clip", "rollback"),
    ("skip", "rollback"),
    ("lr", "rollback"),
    ("clip", "skip", "lr", "rollback"),
)
Effect = Callable[[Toy, torch.Tensor], torch.Tensor]


def wreck(toy: Toy, y: torch.Tensor) -> torch.Tensor:
    """Weights far off: an update that went wrong."""
    with torch.no_grad():
        for parameter in toy.model.parameters():
            parameter.mul_(20.0)
    return y


def flip(toy: Toy, y: torch.Tensor) -> torch.Tensor:
    """One weight with a wrong exponent."""
    with torch.no_grad():
        toy.model[3].weight.view(-1)[3] = 3e5  # type: ignore[union-attr, operator]
    return y


def not_a_number(toy: Toy, y: torch.Tensor) -> torch.Tensor:
    """A loss that is not finite."""
    return y * float("nan")


def hot(toy: Toy, y: torch.Tensor) -> torch.Tensor:
    """A learning rate a thousand times as high, from this update on."""
    for group in toy.optimizer.param_groups:
        group["lr"] = 3.0
    return y


@dataclass(frozen=True, slots=True)
class Fault:
    """What strikes, and at which batches counted from the first."""

    effect: Effect
    batches: Sequence[int] = (0,)
    of_the_data: bool = False
    """Whether a batch is bad each time that it is seen."""


FAULTS: Mapping[str, Fault] = {
    "one bad batch": Fault(far_off, of_the_data=True),
    "16 bad batches": Fault(far_off, range(16), of_the_data=True),
    "100 bad batches": Fault(far_off, range(100), of_the_data=True),
    "two bad batches, 40 apart": Fault(far_off, (0, 40), of_the_data=True),
    "weights ×20": Fault(wreck),
    "one weight flipped": Fault(flip),
    "NaN": Fault(not_a_number),
    "lr ×1000": Fault(hot),
}


@dataclass(slots=True)
class Outcome:
    """What a run came to."""

    lost: int = 0
    """Steps that its rollbacks undid."""
    rollbacks: int = 0
    to_start: int = 0
    """Rollbacks to the start while a state from after it and from before the fault was held."""
    survived: bool = False


@contextlib.contextmanager
def far_only() -> Iterator[None]:
    """Return to trusted snapshots alone, the first of which is taken a whole spacing on."""

    def trusted_alone(
        trusted: Sequence[Candidate], held: object, trouble: Trouble, start: int
    ) -> list[Candidate]:
        return trusted_first(trusted, trouble)

    with (
        mock.patch.object(rollback, "best_first", trusted_alone),
        mock.patch.object(snapshots, "EARLY", 10**9),
    ):
        yield


POLICIES: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "far": far_only,
    "near": contextlib.nullcontext,
}


def level(toy: Toy) -> float:
    """The last losses."""
    return statistics.median(list(toy.losses.values())[-LAST:])


def outcome(
    fault: Fault, at: int, seed: int, clean: float, ladder: Sequence[str] = ("rollback",)
) -> Outcome:
    """One run with one fault."""
    struck = {4 * (at + batch): fault.effect for batch in fault.batches}
    name = "faults" if fault.of_the_data else "once"
    asked = "clip" in ladder or "skip" in ladder
    settings = {"ladder": tuple(ladder), **DEFAULTS}
    toy = Toy(seed=seed, checked=asked, **{name: struck}, **settings)  # type: ignore[arg-type]
    found, run = Outcome(), toy.guard.rollback.run

    def counted(request: Request) -> object:
        held = [slot.step for slot in toy.guard.snapshots.ring.held()]
        done = run(request)
        to = getattr(done, "step", None)
        if to is not None:
            found.rollbacks += 1
            found.lost += request.step - to
            found.to_start += to == -1 and any(0 <= step < at for step in held)
        return done

    toy.guard.rollback.run = counted  # type: ignore[method-assign, assignment]
    reached = toy.run(at + AFTER)
    found.survived = reached >= at + AFTER and level(toy) <= SURVIVED * clean
    return found


def row(policy: str, name: str, at: int, seeds: int, clean: Clean) -> str:
    """A line of the table."""
    with POLICIES[policy]():
        found = [outcome(FAULTS[name], at + s, s, clean[at, s]) for s in range(seeds)]
    lost = [each.lost for each in found if each.rollbacks]
    median = f"{statistics.median(lost):g}" if lost else "–"
    return (
        f"| {policy} | {name} | {at}+ | {median} | {max(lost, default=0)} "
        f"| {sum(each.rollbacks for each in found)} | {sum(each.to_start for each in found)} "
        f"| {sum(each.survived for each in found)} of {seeds} |"
    )


def climbing(ladder: Sequence[str], name: str, at: int, seeds: int, clean: Clean) -> str:
    """A line about a ladder."""
    found = [outcome(FAULTS[name], at + s, s, clean[at, s], ladder) for s in range(seeds)]
    return (
        f"| {', '.join(ladder)} | {name} | {statistics.median(each.lost for each in found):g} "
        f"| {sum(each.rollbacks for each in found)} "
        f"| {sum(each.survived for each in found)} of {seeds} |"
    )


def slow(policy: str, seeds: int) -> str:
    """A line about slow divergences: is what is returned to from before the onset?"""
    levels, lost = [], []
    for seed in range(FRESH, FRESH + seeds):
        trace = traces.make(traces.slow, seed)
        clean = np.exp(traces.base(np.random.default_rng([seed, zlib.crc32(b"slow")])))
        onset = trace.events[0][0]
        with POLICIES[policy]():
            guard = guard_over(Emitter())
            guard.start()
            for step, loss in enumerate(trace.values.tolist()):
                place = guard.after_step(step, closs=loss) - 1
                if place != step and step >= onset:
                    levels.append(trace.values[place] / clean[place] if place >= onset else 1.0)
                    lost.append(step - place)
                    break
    return (
        f"| {policy} | {statistics.median(lost):g} | {np.quantile(lost, 0.9):.0f} "
        f"| {sum(level > 1 for level in levels)} | {np.quantile(levels, 0.9):.3f} "
        f"| {max(levels):.3f} | {len(lost)} of {seeds} |"
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the lines on stderr that a guard writes for a job's output."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--slow", action="store_true", help="slow divergences, on synthetic traces")
    parser.add_argument("--ladder", action="store_true", help="ladders, at the first step of --at")
    parser.add_argument("--policy", nargs="+", choices=POLICIES, default=["far", "near"])
    parser.add_argument("--fault", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--at", nargs="+", type=int, default=list(AT))
    chosen = parser.parse_args([] if arguments is None else arguments)
    torch.set_num_threads(1)
    if chosen.slow:
        print(
            "| policy | steps lost, median | 9th decile | to after the onset "
            "| loss there ÷ clean, 9th decile | most | answered |\n|---|---|---|---|---|---|---|"
        )
        for policy in chosen.policy:
            with quiet():
                line = slow(policy, chosen.seeds)
            print(line, flush=True)
        return
    clean = {}
    for at in chosen.at:
        for seed in range(chosen.seeds):
            toy = Toy(seed=seed, mode="off", slots=0)
            with quiet():
                toy.run(at + seed + AFTER)
            clean[at, seed] = level(toy)
            assert math.isfinite(clean[at, seed])
    if chosen.ladder:
        print(
            "| ladder | fault | steps lost, median | rollbacks | survived |\n|---|---|---|---|---|"
        )
        for name in chosen.fault:
            for ladder in LADDERS:
                with quiet():
                    line = climbing(ladder, name, chosen.at[0], chosen.seeds, clean)
                print(line, flush=True)
        return
    print(
        "| policy | fault | at step | steps lost, median | most | rollbacks "
        "| to the start with a good state held | survived |\n|---|---|---|---|---|---|---|---|"
    )
    for name in chosen.fault:
        for at in chosen.at:
            for policy in chosen.policy:
                with quiet():
                    line = row(policy, name, at, chosen.seeds, clean)
                print(line, flush=True)


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
