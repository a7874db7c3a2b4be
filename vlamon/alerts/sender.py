"""Sends alerts from a thread of its own: queued on disk, retried, never in anybody's way."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from vlamon.alerts.alert import Alert
from vlamon.alerts.channels import Channel
from vlamon.alerts.channels.http import ChannelError
from vlamon.alerts.message import Message, message
from vlamon.alerts.outbox import Outbox
from vlamon.alerts.rate import RateLimit

FIRST_RETRY = 2.0
LAST_RETRY = 600.0
"""Seconds between two tries of a channel: doubled with each failure."""
LAST_CHANCE = 10.0
"""Seconds that `close` gives to what still waits; the rest stays on disk for the next process."""
QUEUED = 256


class Sender:
    """Takes alerts from any thread; `put` never blocks and never raises."""

    def __init__(
        self,
        channels: Mapping[str, Channel],
        directory: Path,
        language: str = "en",
        complain: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`complain` hears, once a channel, why it does not take messages."""
        self._channels = channels
        self._outbox = Outbox(directory)
        self._language = language
        self._complain = complain
        self._queue: queue.Queue[Alert | None] = queue.Queue(QUEUED)
        self._limit = RateLimit()
        self._retry = dict.fromkeys(channels, (0.0, FIRST_RETRY))
        self._complained: set[str] = set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vlamon-alerts", daemon=True)
        self._thread.start()

    def put(self, alert: Alert) -> None:
        """Send it soon. With hundreds waiting in memory the newest are dropped."""
        try:
            self._queue.put_nowait(alert)
        except queue.Full:
            self._say("", "too many alerts at once: some are dropped")

    def close(self, timeout: float = LAST_CHANCE) -> None:
        """Try once more what waits, for at most `timeout` seconds."""
        self._closing.set()
        self.wake()
        self._thread.join(timeout)

    def wake(self) -> None:
        """Look at what waits now, whatever the retries say."""
        self._retry = dict.fromkeys(self._channels, (0.0, FIRST_RETRY))
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return  # the thread is awake and busy

    def _run(self) -> None:
        while True:
            alert = self._next()
            if alert is not None:
                self._keep(alert)
                continue  # gather before sending: the queue must not fill behind a slow server
            self._deliver()
            if self._closing.is_set() and self._queue.empty():
                return

    def _next(self) -> Alert | None:
        """The next alert; None when it is time to send."""
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            pass
        if self._due() or self._closing.is_set():
            return None
        try:
            return self._queue.get(timeout=FIRST_RETRY)
        except queue.Empty:
            return None

    def _due(self) -> bool:
        now = time.monotonic()
        return any(
            found.channel in self._channels and now >= self._retry[found.channel][0]
            for found in self._outbox.waiting()
        )

    def _keep(self, alert: Alert) -> None:
        if not self._limit.passes(alert, time.monotonic()):
            return
        told = message(alert, self._language, self._limit.take_held_back())
        for name, channel in self._channels.items():
            try:
                self._outbox.put(name, told)
            except OSError as error:
                self._say(name, f"the disk keeps no alerts ({error.strerror}): sent once only")
                self._try(name, channel, told)

    def _deliver(self) -> None:
        blocked: set[str] = set()
        for found in self._outbox.waiting():
            channel = self._channels.get(found.channel)
            if channel is None or found.channel in blocked:
                continue
            if time.monotonic() < self._retry[found.channel][0]:
                continue
            if self._try(found.channel, channel, found.message):
                self._outbox.done(found)
            else:
                blocked.add(found.channel)  # what comes first is told first

    def _try(self, name: str, channel: Channel, told: Message) -> bool:
        try:
            channel.send(told)
        except ChannelError as error:
            self._failed(name, str(error))
            return False
        except Exception as error:  # a channel must not end the others
            self._failed(name, f"{type(error).__name__}: {error}")
            return False
        self._retry[name] = (0.0, FIRST_RETRY)
        self._complained.discard(name)
        return True

    def _failed(self, name: str, why: str) -> None:
        _, wait = self._retry[name]
        self._retry[name] = (time.monotonic() + wait, min(2 * wait, LAST_RETRY))
        self._say(name, f"alerts by {name} are not taken: {why}; they wait and are tried again")

    def _say(self, name: str, text: str) -> None:
        if name not in self._complained:
            self._complained.add(name)
            self._complain(text)
