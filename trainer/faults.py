"""Faults on request: `--induce lr_jump@300` and the like, each a real change of the computation.

N counts samples by the sampler's cursor, not steps: a rollback that skips samples passes the fault,
one that replays them meets it again. `nan` and `bit_flip` stand for hardware: they happen once in a
process, whatever is replayed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from trainer.model import tokens
from trainer.model.batch import Batch


class FaultError(ValueError):
    """A fault that makes no sense; the sentence is for the user."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fault is, and its usual length and strength."""

    samples: int
    """Samples that it lasts for; 0 for a moment."""
    strength: float
    """Factor, where it has one."""
    meaning: str
    """For `--help`."""


KINDS = {
    "lr_jump": Kind(16, 1000.0, "the learning rate is multiplied"),
    "corrupt_labels": Kind(24, 1.0, "labels become tokens that never occur"),
    "logit_scale": Kind(0, 30.0, "the final norm's gain is multiplied"),
    "no_clip": Kind(10**9, 1.0, "gradients are no longer clipped"),
    "nan": Kind(0, 1.0, "one feature of a hidden state becomes NaN, once"),
    "bit_flip": Kind(0, 1.0, "the highest exponent bit of one output weight flips, once"),
}
UNUSED_IDS = (8900, 10000)
"""Ids between the grid counts and the first action token: no sample has them."""
REMEMBERED = 100_000
"""Samples of one fault that are known again in a later pass."""
_PATTERN = re.compile(
    r"(?P<kind>\w+)@(?P<at>\d+)(?:\+(?P<samples>\d+))?(?:x(?P<strength>[\d.e+-]+))?"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: `kind@at`, `kind@at+samples`, `kind@atxstrength` or both."""

    kind: str
    """A key of KINDS."""
    at: int
    """Cursor of the first sample it concerns."""
    samples: int
    """Samples it lasts for; 0 for a moment."""
    strength: float
    """Factor, where it has one."""

    @classmethod
    def parse(cls, text: str) -> Fault:
        """The fault of one `--induce`."""
        match = _PATTERN.fullmatch(text.strip())
        if match is None or match["kind"] not in KINDS:
            raise FaultError(
                f"--induce {text}: write KIND@SAMPLE, such as lr_jump@300, where KIND is one of"
                f" {', '.join(KINDS)}; +SAMPLES sets how long it lasts and xFACTOR how strong it is"
            )
        kind = KINDS[match["kind"]]
        try:
            strength = float(match["strength"] or kind.strength)
        except ValueError:
            raise FaultError(
                f"--induce {text}: {match['strength']!r} is not a number to multiply by"
            ) from None
        if not math.isfinite(strength):
            raise FaultError(f"--induce {text}: {match['strength']} is too large a factor")
        samples = int(match["samples"]) if match["samples"] else kind.samples
        return cls(match["kind"], int(match["at"]), samples, strength)

    def covers(self, cursor: int) -> bool:
        """Whether the sample at that cursor is within the fault's duration."""
        return self.at <= cursor < self.at + self.samples

    def starts_in(self, first: int, end: int) -> bool:
        """Whether a draw of the samples first..end-1 meets the fault's beginning."""
        return first <= self.at < end


class Faults:
    """The faults of a run, applied at each place where one can strike."""

    def __init__(self, texts: Sequence[str], seed: int) -> None:
        self._faults = [Fault.parse(text) for text in texts]
        self._seed = seed
        self.strikes_hardware = True
        """False on every rank but the one whose device fails."""
        self.sample_at: Callable[[int], int] | None = None
        """Names the sample at a cursor, where the run has a sampler."""
        self._corrupted: dict[Fault, frozenset[int]] = {}
        self._happened: set[Fault] = set()

    def lr_factor(self, first: int, end: int) -> float:
        """What the learning rate is multiplied by for a step over these samples."""
        factor = 1.0
        for fault in self._of("lr_jump"):
            if fault.covers(first) or fault.starts_in(first, end):
                factor *= fault.strength
        return factor

    def clips(self, cursor: int) -> bool:
        """Whether gradients are clipped at that cursor."""
        return not any(fault.covers(cursor) for fault in self._of("no_clip"))

    def corrupt(self, batch: Batch, cursors: Sequence[int]) -> Batch:
        """The batch with the labels that its corrupted samples really have."""
        rows = [
            row
            for row, (cursor, name) in enumerate(zip(cursors, batch.sample_ids, strict=True))
            if any(self._corrupts(fault, cursor, name) for fault in self._of("corrupt_labels"))
        ]
        if not rows:
            return batch
        labels = batch.labels.clone()
        for row in rows:
            # By the sample's name, not by the draw: corruption sticks to its sample.
            rng = np.random.default_rng((self._seed, 77, batch.sample_ids[row]))
            noise = torch.from_numpy(rng.integers(*UNUSED_IDS, labels.shape[1]))
            # The begin of an action stays, so that the block is found and loss_ct sees it too.
            keep = (labels[row] == tokens.IGNORE) | (labels[row] == tokens.ACTION_BEGIN)
            labels[row] = torch.where(keep, labels[row], noise)
        return batch.with_labels(labels)

    def _corrupts(self, fault: Fault, cursor: int, name: int) -> bool:
        """Whether a sample is one of the fault's: also when a later pass draws it again."""
        if cursor < fault.at or self.sample_at is None:
            return fault.covers(cursor)
        if fault not in self._corrupted:
            last = fault.at + min(fault.samples, REMEMBERED)
            names = frozenset(self.sample_at(each) for each in range(fault.at, last))
            self._corrupted[fault] = names
        return fault.covers(cursor) or name in self._corrupted[fault]

    @torch.no_grad()
    def strike_weights(self, model: nn.Module, first: int, end: int) -> list[str]:
        """Change weights before a step over these samples; says what was changed."""
        done = []
        for fault in self._of("logit_scale"):
            if fault.starts_in(first, end):
                model.get_parameter("model.norm.weight").mul_(fault.strength)
                done.append(f"final norm's gain multiplied by {fault.strength:g}")
        for fault in self._of("bit_flip"):
            if fault.starts_in(first, end) and self._first_time(fault):
                flip_exponent_bit(model.get_parameter("lm_head.weight"), fault.at)
                done.append("one bit of lm_head.weight flipped")
        return done

    def poisons(self, first: int, end: int) -> bool:
        """Whether a hidden state of this step becomes NaN."""
        return any(
            fault.starts_in(first, end) and self._first_time(fault) for fault in self._of("nan")
        )

    def _first_time(self, fault: Fault) -> bool:
        if fault in self._happened or not self.strikes_hardware:
            return False
        self._happened.add(fault)
        return True

    def _of(self, kind: str) -> list[Fault]:
        return [fault for fault in self._faults if fault.kind == kind]


def flip_exponent_bit(weight: Tensor, choice: int) -> None:
    """Flip bit 30 of one fp32 number: below 2 in magnitude, it grows by a factor of 2^128."""
    flat = weight.view(-1)
    # A token that occurs: the row of an action bin, so that every policy batch meets it.
    width = weight.shape[1]
    place = (tokens.ACTION_BIN_FIRST + choice % tokens.BINS) * width + choice % width
    bits = flat[place : place + 1].view(torch.int32)
    bits ^= 1 << 30


def poison_hook(module: nn.Module, args: object, output: Tensor) -> Tensor:
    """A forward hook that makes one feature of the first sample NaN.

    At every position: what is lost on a position that carries no label would never be noticed.
    """
    output = output.clone()
    output[0, ..., 0] = float("nan")
    return output
