"""Messages that wait to be sent, on disk: no network tonight is no reason to lose one.

One file per message and channel, written beside and renamed, oldest first by name. A process that
starts later sends what an earlier one could not.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from vlamon import processes
from vlamon.alerts.alert import Alert
from vlamon.alerts.message import Message
from vlamon.whole_file import put_whole

KEPT = 200
"""Messages that may wait; with more, the oldest of low urgency go first."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message and the channel that it waits for."""

    path: Path
    channel: str
    message: Message


class Outbox:
    """The waiting messages of one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._number = 0
        self._sent: set[Path] = set()
        """Messages that were accepted and cannot be removed: nobody gets them twice from us."""

    def put(self, channel: str, message: Message) -> None:
        """Keep the message for the channel; OSError where the disk takes nothing."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clear()
        self._number += 1
        # Behind what waits, also where the clock was set back meanwhile.
        stamp = max([time.time_ns(), *(_stamp(path) for path in self._files()[-1:])])
        name = f"{stamp:020}-{os.getpid()}-{self._number:06}.json"
        beside = self._directory / f".{name}"
        document = json.dumps({"channel": channel, "message": asdict(message)})
        put_whole(self._directory / name, document.encode(), beside, 0o600)
        self._bound()

    def waiting(self) -> Iterator[Waiting]:
        """What waits, oldest first. A file that is none of ours is left where it is."""
        for path in self._files():
            if path in self._sent:
                continue
            try:
                found = _waiting(path, path.read_bytes())
            except OSError:
                continue  # another process of the same run sent it, or the disk is away
            except (ValueError, KeyError, TypeError, RecursionError):
                with contextlib.suppress(OSError):
                    path.rename(path.with_suffix(".unreadable"))
                continue
            yield found

    @contextlib.contextmanager
    def claimed(self, waiting: Waiting) -> Iterator[bool]:
        """Whether it is ours to send: another run of the same user may be sending it right now."""
        try:
            descriptor = os.open(waiting.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            yield False
            return
        except OSError:
            yield True  # a disk that turned read-only: sent twice is better than not at all
            return
        with open(descriptor, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError:
                pass  # a file system without locks: the same
            yield os.path.exists(waiting.path)

    def done(self, waiting: Waiting) -> None:
        """It was accepted."""
        try:
            waiting.path.unlink()
        except FileNotFoundError:
            return
        except OSError:
            self._sent.add(waiting.path)

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self._directory.glob("[0-9]*.json"))
        except OSError:
            return []

    def _clear(self) -> None:
        """Remove what processes that were killed while they wrote have left."""
        for path in self._directory.glob(".[0-9]*.json"):
            pid = path.name.split("-")[1:2]
            if not (pid and pid[0].isdecimal() and processes.exists(int(pid[0]))):
                with contextlib.suppress(OSError):
                    path.unlink()

    def _bound(self) -> None:
        surplus = len(self._files()) - KEPT
        if surplus <= 0:
            return
        ordered = sorted(self.waiting(), key=lambda found: found.message.urgency == "high")
        for found in ordered[:surplus]:
            self.done(found)


def _waiting(path: Path, data: bytes) -> Waiting:
    """The message in a file, as it was put; one of the errors of `waiting` where it is none."""
    document = json.loads(data)
    fields = dict(document["message"])
    alert = Alert(**fields.pop("alert"))
    message = Message(**fields, alert=alert)
    texts = [message.id, message.title, message.body, message.urgency, document["channel"]]
    texts += [alert.id, alert.kind, alert.run, alert.host, alert.text, alert.command]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is none")
    if type(alert.time) not in (int, float) or type(alert.step) not in (int, type(None)):
        raise TypeError("a number is none")
    return Waiting(path, document["channel"], message)


def _stamp(path: Path) -> int:
    first = path.name.split("-")[0]
    return int(first) if first.isdecimal() and len(first) <= 20 else 0
