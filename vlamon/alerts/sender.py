"""Sends alerts from threads of its own: queued on disk, retried, never in anybody's way.

One thread keeps what comes, one a channel delivers it: a server that hangs holds up neither the
other channels nor what is still to be written to disk.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from vlamon.alerts.alert import Alert
from vlamon.alerts.channels import Channel
from vlamon.alerts.delivery import Delivery
from vlamon.alerts.message import message
from vlamon.alerts.outbox import Outbox
from vlamon.alerts.rate import RateLimit

LAST_CHANCE = 10.0
"""Seconds that `close` gives to what still waits; the rest stays on disk for the next process."""
QUEUED = 256


class AlertSender:
    """Takes alerts from any thread; `put` never blocks and never raises."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        directory: Path,
        language: str = "en",
        complain: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`complain` is called, once a channel, with why it takes no messages."""
        self._outbox = Outbox(directory)
        self._language = language
        self._complain = complain
        self._queue: queue.Queue[Alert | None] = queue.Queue(QUEUED)
        self._limit = RateLimit()
        self._flooded = False
        self._deliveries = [
            Delivery(name, channel, self._outbox, complain) for name, channel in channels.items()
        ]
        self._thread = threading.Thread(target=self._run, name="vlamon-alerts", daemon=True)
        self._thread.start()

    def put(self, alert: Alert) -> None:
        """Send it soon. With hundreds waiting in memory the newest are dropped."""
        try:
            self._queue.put_nowait(alert)
        except queue.Full:
            if not self._flooded:
                self._flooded = True
                self._complain("too many alerts at once: some are dropped")

    def close(self, timeout: float = LAST_CHANCE) -> None:
        """Try once more what waits, for at most `timeout` seconds."""
        end = time.monotonic() + timeout
        try:
            self._queue.put(None, timeout=timeout)
        except queue.Full:
            return  # a disk that hangs: there is nothing to wait for
        self._thread.join(max(0.0, end - time.monotonic()))
        for delivery in self._deliveries:
            delivery.finish()
        for delivery in self._deliveries:
            delivery.join(max(0.0, end - time.monotonic()))

    def _run(self) -> None:
        while (alert := self._queue.get()) is not None:
            if self._limit.passes(alert, time.monotonic()):
                self._keep(alert)

    def _keep(self, alert: Alert) -> None:
        text = message(alert, self._language, self._limit.take_held_back())
        for delivery in self._deliveries:
            try:
                self._outbox.put(delivery.name, text)
            except OSError as error:
                delivery.send_once(text, error.strerror or str(error))
            delivery.wake()
