"""All that a run sends to its monitors: written by the sidecar, read by the server's cursors."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from vlamon.emitter.blocklog import BlockLog, NextFrame, NoteLog
from vlamon.hardware import GpuSample
from vlamon.protocol import messages
from vlamon.protocol.frames import pack
from vlamon.protocol.messages import Start
from vlamon.records import MetricSpec, RunInfo, Status

GPU_SAMPLES = 900
"""Samples kept for late joiners: a quarter of an hour."""


@dataclass(slots=True)
class Fetch:
    """Rows on their way back from the journal, for one cursor."""

    seq: int
    frames: deque[NextFrame] = field(default_factory=deque)
    done: threading.Event = field(default_factory=threading.Event)
    """Set when `frames` is complete; an empty one means that the journal does not have them."""


class History:
    """One block log, one note log, the last GPU samples, the newest status and greeting."""

    def __init__(self, info: RunInfo, log: BlockLog, notes: NoteLog, attempt: int = 0) -> None:
        self.info = info
        self.log = log
        self.notes = notes
        self.attempt = attempt
        """The one that this boot begins with."""
        self.fetch: Callable[[int], Fetch] | None = None
        """Asks the journal's thread for rows that memory has forgotten; None without a journal."""
        self.greetings = 0
        """How often the greeting changed."""
        self.gpu_end = 0
        self.statuses = 0
        self.status: Status | None = None
        self._status_frame: bytes | None = None
        self._gpu: deque[bytes] = deque(maxlen=GPU_SAMPLES)
        self._start = Start(log.end, len(notes), attempt)
        self._greeting: bytes | None = None
        self._greeted_at = 0
        """Rows that there were when the greeting was packed."""

    def change_info(self, **changes: Any) -> None:
        """Change the greeting; those who are connected get it again."""
        self.info = replace(self.info, **changes)
        self.greetings += 1
        self._greeting = None

    def tell_control(self, serving: bool) -> None:
        """Whether commands are taken, once the script has asked for some."""
        if self.info.control != serving:
            self.change_info(control=serving)

    def announce(self, specs: tuple[MetricSpec, ...]) -> None:
        """Add metrics to the greeting of those who come later, without telling the others again."""
        self.info = replace(self.info, metrics=self.info.metrics + specs)
        self._greeting = None

    @property
    def greeting(self) -> bytes:
        """The frame of `hello` as of now."""
        if self._greeting is None or self._greeted_at != self.log.end:
            self._greeted_at = self.log.end
            start = replace(self._start, end_seq=self.log.end)
            self._greeting = pack(messages.greeting(self.info, start))
        return self._greeting

    def add_gpu(self, sample: GpuSample) -> bytes:
        """Keep a sample and return its frame."""
        frame = pack(messages.encode(sample))
        self._gpu.append(frame)
        self.gpu_end += 1
        return frame

    def gpu_after(self, number: int) -> tuple[int, bytes] | None:
        """The sample after the first `number`, and how many there are up to it."""
        first = self.gpu_end - len(self._gpu)
        number = max(number, first)
        if number >= self.gpu_end:
            return None
        return number + 1, self._gpu[number - first]

    def set_status(self, status: Status) -> None:
        """Replace the status."""
        self.status = status
        self.statuses += 1
        self._status_frame = None

    @property
    def status_frame(self) -> bytes:
        """The newest status, packed only when it is sent."""
        if self._status_frame is None:
            assert self.status is not None
            self._status_frame = pack(messages.encode(self.status))
        return self._status_frame
