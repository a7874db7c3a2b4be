"""`vlamon.note(z_loss=z)`: what a model's forward can report without knowing what logs the step.

Notes of the micro-batches of one step are averaged. What logs the step (a callback, the tap)
takes them; otherwise the oldest are dropped.
"""

from __future__ import annotations

import threading
from typing import Any

from vlamon.integrations.components import read
from vlamon.integrations.micro_batches import MicroBatches

KEPT = 4096
"""Notes that may wait for a step; more means that they are not taken."""

_lock = threading.Lock()
_noted = MicroBatches()
_waiting = 0


def note(**components: Any) -> None:
    """Report components of this micro-batch; the row of its step carries them."""
    global _waiting
    values = {
        name: value for name, given in components.items() if (value := read(given)) is not None
    }
    with _lock:
        _waiting += 1
        if _waiting > KEPT:
            _noted.take()
            _waiting = 1
        _noted.add(values)


def take_notes() -> dict[str, Any]:
    """The notes since the last call, a mean each."""
    global _waiting
    with _lock:
        _waiting = 0
        return _noted.take()
