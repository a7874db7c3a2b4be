"""Alerts that the training sends itself: what the sidecar stores is judged on another thread.

A home on a dead file server, a name server that hangs, a mail server that refuses: settings are
read and messages sent on threads that neither the training nor the sidecar waits for. A run without
a guard does not judge its own batches, so they are judged here, as a monitor would.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from vlamon.emitter.places import say
from vlamon.errors import VlamonError
from vlamon.protocol import block as blocks
from vlamon.protocol.block import Block
from vlamon.records import Event, Link, Record, RunInfo

if TYPE_CHECKING:
    from vlamon.alerts.alert import Alert
    from vlamon.alerts.sender import AlertSender

VARIABLE = "VLAMON_ALERT"
"""Turns alerts on for scripts that do not say."""
BLOCKS = 400
"""Records that may wait for the thread; with more, batches are not judged. Events always are."""
LAST_CHANCE = 5.0
"""Seconds that the end of a run gives to messages; what is left waits on disk."""


def command_line(
    asked: bool | str | None, environment: Mapping[str, str] = os.environ
) -> str | None:
    """The command that gets alerts, empty for the user's channels alone; None for no alerts."""
    if asked is None:
        asked = environment.get(VARIABLE, "").strip().lower() in ("1", "true", "yes", "on")
    if isinstance(asked, str):
        return asked.strip() or None
    return "" if asked else None


class Alerting:
    """Takes a run's records from the sidecar; `observe` neither waits nor raises."""

    def __init__(
        self, command: str, info: Callable[[], RunInfo], warn: Callable[[str], None]
    ) -> None:
        """`warn` tells the monitors, once, why no alert can be sent."""
        self._command = command
        self._info = info
        self._warn = warn
        self._waiting: queue.SimpleQueue[Record | Block | None] = queue.SimpleQueue()
        self._disabled = False
        self._thread = threading.Thread(target=self._run, name="vlamon-alerting", daemon=True)
        self._thread.start()

    def observe(self, record: Record | Block) -> None:
        """Take one more record of the run; on the sidecar's thread."""
        if self._disabled or (isinstance(record, Block) and self._waiting.qsize() > BLOCKS):
            return
        self._waiting.put(record)

    def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        self._waiting.put(None)
        self._thread.join(LAST_CHANCE + 1.0)

    def _run(self) -> None:
        try:
            sender = self._sender()
        except Exception as error:
            self._disabled = True
            self._complain(f"no alerts are sent: {_reason(error)}")
            return
        for alert in self._alerts():
            sender.put(alert)
        sender.close(LAST_CHANCE)

    def _sender(self) -> AlertSender:
        from vlamon.alerts.sender import AlertSender
        from vlamon.alerts.settings import channels_needed, load_settings, outbox_directory

        settings = channels_needed(load_settings(self._command or None))
        return AlertSender(settings.channels, outbox_directory(), settings.language, self._complain)

    def _alerts(self) -> Iterator[Alert]:
        """What calls a person, until the end."""
        from vlamon.alerts.alert import of_event
        from vlamon.config import rules_in_force
        from vlamon.detect.monitor import ExplosionMonitor

        rules = rules_in_force(self._complain)
        monitor = ExplosionMonitor(rules)
        list(monitor.observe(self._info()))
        while (record := self._waiting.get()) is not None:
            events: list[Event] = []
            try:
                if isinstance(record, Block):
                    record = blocks.record(record)
                elif isinstance(record, Event) and record.kind == "end":
                    events += monitor.observe(Link("ended"))  # what was held until more is known
                events += monitor.observe(record)
            except Exception as error:  # alerts of what the run itself reports are still sent
                self._complain(f"batches are not judged for alerts: {_reason(error)}")
                monitor = ExplosionMonitor(rules)
            events += [record] if isinstance(record, Event) else []
            alerts = (of_event(event, self._info()) for event in events)
            yield from (alert for alert in alerts if alert is not None)

    def _complain(self, text: str) -> None:
        self._warn(text)
        say(text)


def _reason(error: Exception) -> str:
    """A user's mistake is a sentence already; everything else is named, and ends nothing."""
    return str(error) if isinstance(error, VlamonError) else f"{type(error).__name__}: {error}"
