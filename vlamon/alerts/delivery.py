"""Sends what waits for one channel, oldest first, on one thread."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from vlamon.alerts.channels import Channel
from vlamon.alerts.channels.http import ChannelError, MessageRefused
from vlamon.alerts.message import Message
from vlamon.alerts.outbox import Outbox

FIRST_RETRY = 2.0
LAST_RETRY = 600.0
"""Seconds between two tries: doubled with each failure."""
REFUSALS = 3
"""Messages that are tried at once though each is refused: then it may well be the channel."""


class Delivery:
    """Sends a channel's messages as they come, and again after a failure.

    Where the channel is away, all wait and keep their order. A message that is refused for what it
    says lets those behind it pass.
    """

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
        self._refused: set[str] = set()
        """Ids of messages that were refused for what they say."""
        self._wait = FIRST_RETRY
        self._not_before = 0.0
        """No try before this time of the monotonic clock, but of what is new where only single
        messages were refused."""
        self._away = False
        """Whether the last try failed for the channel's own sake."""
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
            due = last or time.monotonic() >= self._not_before
            if due or not self._away:
                wait = self._deliver(refused_too=due)
                if wait or due:
                    self._not_before = time.monotonic() + wait
            if last:
                return
            left = self._not_before - time.monotonic()
            self._news.wait(left if left > 0.0 else LAST_RETRY)

    def _deliver(self, refused_too: bool) -> float:
        """Send what waits; the seconds until it is worth another try, 0 where all is sent."""
        self._away = False
        waiting = [found for found in self._outbox.waiting() if found.channel == self.name]
        self._refused &= {found.message.id for found in waiting}
        waiting.sort(key=lambda found: found.message.id in self._refused)  # in order besides
        refusals, wait = 0, 0.0
        for found in waiting:
            if found.message.id in self._refused and not refused_too:
                break
            with self._outbox.claimed(found) as ours:
                if not ours:
                    self._away = True
                    return FIRST_RETRY
                if self._try(found.message):
                    self._outbox.done(found)
                    continue
            refusals += 1
            if not wait:
                wait, self._wait = self._wait, min(2 * self._wait, LAST_RETRY)
            if self._away or refusals == REFUSALS:
                break
        return wait

    def _try(self, message: Message) -> bool:
        try:
            self._channel.send(message)
        except Exception as error:  # a channel must not end the others
            if isinstance(error, ChannelError):
                self._failed(str(error))
            else:
                self._failed(f"it cannot be sent: {type(error).__name__}")
            self._away = isinstance(error, ChannelError) and not isinstance(error, MessageRefused)
            if not self._away:
                self._refused.add(message.id)
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
