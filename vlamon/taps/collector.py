"""Where all taps of a process meet: values in, one row a step out to an emitter.

The same loss often arrives twice, from a framework and from the tracker that the framework calls.
The first source that logs a name keeps it, and the source that logged first sets the steps.
"""

from __future__ import annotations

import atexit
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from vlamon.emitter import Emitter
from vlamon.emitter.annotating import PREFIX
from vlamon.integrations.components import losses_of
from vlamon.integrations.sink import log_row
from vlamon.taps.options import TapOptions
from vlamon.taps.rows import Rows, TapRow

QUIET = 1.0
"""Seconds without a value after which a row is sent although no next step ended it."""
TRAIN_PREFIXES = ("train/", "train_", "training/", "Train/", "train-")
PRISMATIC = "VLA Train/"
"""What OpenVLA and its descendants put before names such as `Curr Action L1 Loss`."""
STEP_NAMES = (
    "trainer/global_step",
    "train/global_step",
    "global_step",
    "iteration",
    "_step",
    "step",
    "VLA Train/Step",
)
"""Keys of a logged dict that are the step itself, best first."""


class Collector:
    """Takes values from any thread of the script; never raises into it."""

    def __init__(self, options: TapOptions, reason: Callable[[], str] = str) -> None:
        """`reason` is asked at the interpreter's end why it came."""
        self._options = options
        self._reason = reason
        self._lock = threading.RLock()
        self._rows = Rows()
        self._owners: dict[str, str] = {}
        self._leader: str | None = None
        self._next: dict[str, int] = {}
        self._touched = 0.0
        self._pid = os.getpid()
        self._emitter: Emitter | None = None
        self._total_steps: int | None = None
        self._failed = False
        self._strides_seen = 0
        self._said: set[str] = set()

    @property
    def emitter(self) -> Emitter | None:
        """The emitter, made on first use; None where it cannot be made."""
        with self._lock:
            if os.getpid() != self._pid:  # a forked worker's values are not the run's
                return None
            if self._emitter is None and not self._failed:
                self._make()
            return self._emitter

    def plan(self, total_steps: int | None) -> None:
        """How many steps a framework will take; what it says once a row was logged is too late."""
        with self._lock:
            self._total_steps = total_steps

    def add(
        self,
        source: str,
        values: Mapping[str, Any],
        step: int | None = None,
        *,
        more_to_come: bool = False,
    ) -> None:
        """Values that `source` was handed; without a step, the next one of that source.

        `more_to_come` keeps that next step open for the following call.
        """
        try:
            numbers = flatten(values)
            if any(name.startswith(PREFIX) for name in numbers):
                return  # an event that vlamon itself writes there
            step = _step_among(numbers) if step is None else int(step)
            with self._lock:
                if step is None:
                    step = self._next.get(source, 0)
                self._next[source] = step if more_to_come else step + 1
                self._add(source, numbers, step)
        except Exception as error:
            self.complain(f"{source}: {type(error).__name__}: {error}")

    def _add(self, source: str, numbers: dict[str, Any], step: int) -> None:
        mine = {
            name: value
            for name, value in numbers.items()
            if self._owners.setdefault(canonical(name), source) == source
        }
        if not mine or self.emitter is None:
            return
        if self._leader is None:
            self._leader = source
        self._touched = time.monotonic()
        if source == self._leader:
            self._send(self._rows.add(step, mine))
        else:
            self._rows.join(mine)

    def flush(self) -> None:
        """Send what is gathered; no more of it will come."""
        with self._lock:
            self._send(self._rows.flush())

    def say(self, text: str) -> None:
        """Tell the monitors something about what they see, once."""
        with self._lock:
            if text not in self._said and self.emitter is not None:
                self._said.add(text)
                self.emitter.event("note", text=text)

    def complain(self, reason: str) -> None:
        """Count a fault of a tap where monitors see it; the script goes on."""
        if self._emitter is not None:
            self._emitter.swallow(f"tap: {reason}"[:200])

    def end(self, reason: str) -> None:
        """The script is over; `reason` is what the monitors read."""
        self.flush()
        if self._emitter is not None and os.getpid() == self._pid:
            self._emitter.close(reason)

    def _make(self) -> None:
        options = self._options
        try:
            self._emitter = Emitter(
                options.path,
                run=options.run,
                run_dir=options.run_dir,
                weights=options.weights or None,
                total_steps=self._total_steps,
                alerts=options.alerts,
                watch=options.watch,
                annotate=options.annotate,
            )
        except Exception as error:
            self._failed = True
            print(f"vlamon: this training is not visible: {error}", file=sys.stderr)
            return
        # After the emitter's own: what is registered last runs first, and must flush first.
        atexit.register(lambda: self.end(self._reason()))
        threading.Thread(target=self._watch, name="vlamon-tap", daemon=True).start()

    def _watch(self) -> None:
        """Send a row that no next step ends: an evaluation, the last one before the end."""
        while self._emitter is not None:
            time.sleep(QUIET / 2)
            with self._lock:
                if time.monotonic() - self._touched > QUIET:
                    self._send(self._rows.flush())

    def _send(self, row: TapRow | None) -> None:
        if row is None or self._emitter is None:
            return
        values = {short(name): value for name, value in row.values.items()}
        log_row(self._emitter, row.step, values)
        self._strides_seen = self._strides_seen + 1 if self._rows.stride > 1 else 0
        if self._strides_seen == 4:
            self.say(
                f"the script logs every {self._rows.stride} steps: batches between are not seen, "
                "and whether a value is their mean only the script knows"
            )


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Numbers by name, nested dicts joined by `/`, lists where they are a loss per dimension.

    Texts, images and histograms are not ours.
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        full = f"{prefix}{name}"
        if isinstance(value, Mapping):
            found.update(flatten(value, f"{full}/"))
        elif is_number(value):
            found[full] = value
        elif (each := losses_of(full, value)) is not None:
            found[full] = each
    return found


def is_number(value: Any) -> bool:
    """Whether it is one number: asks for type and size only, never for the value."""
    if isinstance(value, bool | int | float):
        return True
    if isinstance(value, str | bytes) or value is None:
        return False
    if hasattr(value, "numel") and hasattr(value, "is_complex"):
        return bool(value.numel() == 1) and not value.is_complex()
    if getattr(value, "size", None) == 1 and hasattr(value, "dtype"):
        return getattr(value.dtype, "kind", "f") in ("f", "i", "u", "b")
    return False


def canonical(name: str) -> str:
    """What two sources may call the same thing: `train/loss` and `loss`."""
    return short(name).lower()


def short(name: str) -> str:
    """A metric's name without the prefix that says it was trained on; others keep theirs."""
    if name.startswith(PRISMATIC):
        return re.sub(r"[^a-z0-9/]+", "_", name.removeprefix(PRISMATIC).lower()).strip("_")
    for prefix in TRAIN_PREFIXES:
        if name.startswith(prefix) and len(name) > len(prefix):
            return name[len(prefix) :]
    return name


def _step_among(numbers: dict[str, Any]) -> int | None:
    for name in STEP_NAMES:
        if name in numbers and isinstance(numbers[name], int | float):
            return int(numbers.pop(name))
    return None
