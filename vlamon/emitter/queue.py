"""Between the emitter and its sidecar: what is appended for it to take, and what it says back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vlamon.emitter.values import PendingValues
from vlamon.hardware import GpuSample
from vlamon.protocol.block import Block
from vlamon.records import EpochRow, Event, Record, Reply


@dataclass(frozen=True, slots=True)
class NewWeights:
    """The weights in force from the next row on."""

    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """The attempt that the next rows belong to."""

    attempt: int


@dataclass(frozen=True, slots=True)
class StatusChange:
    """The fields of the status that a script set."""

    fields: Mapping[str, Any]
    time: float = 0.0
    """When, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class RankColumns:
    """What all ranks report, for the next row."""

    values: Mapping[str, float]


Item = (
    tuple[int, float | None, float, dict[str, float] | PendingValues]
    | Event
    | EpochRow
    | GpuSample
    | Reply
    | NewWeights
    | NewAttempt
    | StatusChange
    | RankColumns
)


class Owner(Protocol):
    """What the sidecar reports to its emitter."""

    def swallow(self, reason: str, count: int = 1) -> None:
        """Something was left out."""

    def warn(self, text: str) -> None:
        """Something went wrong that the monitors should hear of."""

    def last_words(self) -> Sequence[Event]:
        """The events that end the run."""


class Listener(Protocol):
    """Gets what the run stores, and works on a thread of its own."""

    def observe(self, record: Record | Block) -> None:
        """Take one more record; neither waits nor raises."""
