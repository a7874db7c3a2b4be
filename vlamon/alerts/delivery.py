"""What waits for one channel, sent oldest first by one thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from vlamon.alerts.channels import Channel
from vlamon.alerts.channels.http import ChannelError
from vlamon.alerts.message import Message
from vlamon.alerts.outbox import Outbox

FIRST_RETRY = 2.0
LAST_RETRY = 600.0
"""Seconds between two tries: doubled with each failure."""


class Delivery:
    """Sends a channel's messages as they come, and again after a failure."""

    def __init__(
        self, name: str, channel: Channel, outbox: Outbox, complain: Callable[[str], None]
    ) -> None:
        """`complain` gets the reason once, when the channel begins to refuse messages."""
        self.name = name
        self._channel = channel
        self._outbox = outbox
        self._complain = complain
        self._complained: set[str] = set()
        self._unkept: deque[Message] = deque()
        self._wait = FIRST_RETRY
        self._not_before = 0.0
        """No try before this time of the monotonic clock."""
        self._news = threading.Event()
        self._finishing = False
        self._thread = threading.Thread(target=self._run, name=f"vlamon-{name}", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Something new waits."""
        self._news.set()

    def send_once(self, message: Message, why: str) -> None:
        """Send what the disk does not keep."""
        self._say("disk", f"the disk keeps no alerts ({why}): sent once only")
        self._unkept.append(message)

    def finish(self) -> None:
        """Try everything once more, whatever failed before, and end."""
        self._finishing = True
        self._not_before = 0.0
        self._news.set()

    def join(self, timeout: float) -> None:
        """Wait for the end; a channel that hangs is left behind."""
        self._thread.join(timeout)

    def _run(self) -> None:
        while True:
            last = self._finishing
            self._news.clear()
            while self._unkept:
                self._try(self._unkept.popleft())
            if time.monotonic() >= self._not_before:
                self._not_before = time.monotonic() + self._deliver()
            if last:
                return
            left = self._not_before - time.monotonic()
            self._news.wait(left if left > 0.0 else LAST_RETRY)

    def _deliver(self) -> float:
        """Send what waits; the seconds until it is worth another try, 0 where all is sent."""
        for found in self._outbox.waiting():
            if found.channel != self.name:
                continue
            with self._outbox.claimed(found) as ours:
                if not ours:
                    return FIRST_RETRY
                if not self._try(found.message):  # in the order of the alerts
                    wait, self._wait = self._wait, min(2 * self._wait, LAST_RETRY)
                    return wait
                self._outbox.done(found)
        return 0.0

    def _try(self, message: Message) -> bool:
        try:
            self._channel.send(message)
        except ChannelError as error:
            self._failed(str(error))
            return False
        except Exception as error:  # a channel must not end the others
            self._failed(f"{type(error).__name__}: {error}")
            return False
        self._wait = FIRST_RETRY
        self._complained.discard("channel")
        return True

    def _failed(self, why: str) -> None:
        text = f"alerts by {self.name} are not taken: {why}; they wait and are tried again"
        self._say("channel", text)

    def _say(self, about: str, text: str) -> None:
        if about not in self._complained:
            self._complained.add(about)
            self._complain(text)
