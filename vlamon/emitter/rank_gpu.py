"""Asks the driver about a rank's own GPU, on a thread of its own: a driver may hang."""

from __future__ import annotations

import threading
from collections.abc import Callable

from vlamon.gpu import Driver
from vlamon.hardware import Device

PERIOD = 2.0


class RankGpu:
    """Tells of the device of one rank until stopped; ends at once where there is none."""

    def __init__(self, local_rank: int, tell: Callable[[Device], None]) -> None:
        self._local_rank = local_rank
        self._tell = tell
        self._stopping = threading.Event()
        threading.Thread(target=self._run, name="vlamon-rank-gpu", daemon=True).start()

    def stop(self) -> None:
        """End soon, without waiting for a driver that hangs."""
        self._stopping.set()

    def _run(self) -> None:
        driver = Driver()
        while not self._stopping.wait(PERIOD):
            device = driver.own(self._local_rank)
            if device is None:
                return
            self._tell(device)
