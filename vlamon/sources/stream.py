"""A source over any stream that carries vlamon's frames: a socket, or the pipes of ssh.

It waits for a trainer that is not there yet, notices when it goes, and goes on where it was when
it comes back.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from vlamon.protocol.commands import NO_CONTROL, Command
from vlamon.protocol.frames import ProtocolError
from vlamon.records import Backfill, Link, LinkState, Record, Reply, RunInfo
from vlamon.sources import SourceError
from vlamon.sources.client import Conversation, Cursor, unanswered

_READ = 256 << 10
_TAKE = 4 << 20
"""Bytes handed over by one `read`, so that a long history arrives in pieces that can be drawn."""
_RETRY_LATER = 1.0
_NOBODY = (
    "accepts connections but no trainer is behind it "
    "(`ssh -L` does that while the far end is dead); trying again"
)
GREETING = 10.0
"""Seconds for a trainer to greet; one that is stopped (SIGSTOP, a debugger) does not."""
_BROKEN = 3
"""Times that a connection may turn to garbage before we give up."""


class Stream(Protocol):
    """A connected, non-blocking stream of bytes."""

    def fileno(self) -> int:
        """Descriptor to wait on for reading."""

    def write_fileno(self) -> int:
        """Descriptor to wait on for writing."""

    def receive(self, size: int) -> bytes:
        """At most `size` bytes; empty at the end. Raises BlockingIOError or OSError."""

    def send(self, data: bytes) -> int:
        """How many bytes were taken. Raises BlockingIOError or OSError."""

    @property
    def other_user(self) -> int | None:
        """Another user who serves it; None for ourselves, root, and what ssh carries."""

    def last_words(self) -> str:
        """After its end: why there was no greeting, empty where unknown.

        Raises SourceError where trying again is of no use.
        """

    def close(self) -> None:
        """Let go."""


class NotThere(Exception):
    """Nothing listens there now, but may later; the message is for the status line."""


class Endpoint(Protocol):
    """Where a stream is found: a socket, or a command that carries one."""

    @property
    def name(self) -> str:
        """What it is called in a status line."""

    @property
    def retry(self) -> float:
        """Seconds between two attempts to connect."""

    def open(self) -> Stream:
        """A fresh stream. Raises NotThere to be asked again, SourceError to give up."""


class StreamSource:
    """Records of the training at an endpoint; waits for it where it is not there yet.

    With `rows=False` no batches come, only greeting, status, events and GPU samples, and nothing
    imports NumPy: what `vlamon status` and `vlamon ctl` use.
    """

    def __init__(self, endpoint: Endpoint, rows: bool = True, newest: int = 0) -> None:
        """`newest` rows come first, those before them as Backfill records; 0: all in order."""
        self.endpoint = endpoint
        self.rows = rows
        self.newest = newest
        self.other_user: int | None = None
        """Another user who serves the newest stream, who must get no command."""
        self._cursor = Cursor()
        self._stream: Stream | None = None
        self._talk: Conversation | None = None
        self._opened = 0.0
        self._retry_at = 0.0
        self._broken = 0
        self._link: Link | None = None
        self._ended = False
        self._closed = False
        self._lock = threading.Lock()
        self._reading = threading.RLock()
        self._commands: deque[Command] = deque()
        self._waiting: dict[str, Command] = {}
        self._unsent = b""
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)

    # ---- the face of a source ----

    @property
    def name(self) -> str:
        """What the endpoint is called."""
        return self.endpoint.name

    @property
    def info(self) -> RunInfo | None:
        """The greeting of the current connection."""
        return self._talk.info if self._talk is not None else None

    @property
    def latest(self) -> dict[str, float]:
        """Newest value by metric, where the source was made with `rows=False`."""
        return self._talk.latest if self._talk is not None else {}

    @property
    def finished(self) -> bool:
        """True once closed: a trainer that ended may be started again."""
        return self._closed

    def read(self, timeout: float) -> Sequence[Record]:
        """Records as they come; a change of the link comes as a Link."""
        with self._reading:
            if self._closed:
                return self._hang_up()
            if self._stream is None:
                return self._connect(timeout)
            try:
                return self._exchange(self._stream, timeout)
            except ProtocolError as error:
                return self._break(error)

    def send(self, command: Command) -> None:
        """Queue a command for the trainer that is connected now.

        Never for a server of another user, who would read what it says.
        """
        if self.other_user is not None:
            raise SourceError(
                f"{self.name} is served by uid {self.other_user}; only its owner may give commands"
            )
        info = self.info
        if info is None or self._link is None or self._link.state != "live":
            raise SourceError(f"no training listens on {self.name}; the command was not sent")
        if not info.control:
            raise SourceError(NO_CONTROL)
        with self._lock:
            self._commands.append(command)
        self._wake()

    def close(self) -> None:
        """End `read` soon. The thread that reads hangs up; where none does, this one."""
        self._closed = True
        self._wake()
        if self._reading.acquire(timeout=1.0):
            try:
                self._hang_up()
            finally:
                self._reading.release()

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"\0")

    # ---- connecting ----

    def _connect(self, timeout: float) -> Sequence[Record]:
        self._sleep(min(timeout, self._retry_at - time.monotonic()))
        if self._closed or time.monotonic() < self._retry_at:
            return []
        self._retry_at = time.monotonic() + (_RETRY_LATER if self._ended else self.endpoint.retry)
        try:
            self._stream = self.endpoint.open()
        except NotThere as error:
            return self._tell("waiting", str(error))
        self.other_user = self._stream.other_user
        self._talk = Conversation(self._cursor, self.name, self.rows, self.newest)
        self._opened = time.monotonic()
        self._unsent = b""
        return self._tell("connecting", f"connected to {self.name}, waiting for its greeting")

    def _sleep(self, seconds: float) -> None:
        if seconds > 0:
            with selectors.DefaultSelector() as selector:
                selector.register(self._wake_read, selectors.EVENT_READ)
                if selector.select(seconds):
                    self._clear_wake()

    def _clear_wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)

    def _tell(self, state: LinkState, text: str) -> list[Record]:
        """A Link record, where it says something new. An ended run stays ended until it is back."""
        if self._ended and state in ("waiting", "connecting"):
            return []
        link = Link(state, text)
        if link == self._link:
            return []
        self._link = link
        return [link]

    def _hang_up(self) -> list[Record]:
        """Close the stream; commands without a reply are carried over to the next connection."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None
        self._talk = None
        return []

    def _break(self, error: ProtocolError) -> Sequence[Record]:
        greeted = self.info is not None
        self._hang_up()
        self._broken += 1
        if not greeted or self._broken >= _BROKEN:
            raise SourceError(f"{self.name} cannot be read: {error}") from error
        return self._tell("reconnecting", f"the stream broke ({error}); connecting again")

    # ---- exchanging ----

    def _exchange(self, stream: Stream, timeout: float) -> list[Record]:
        talk = self._talk
        assert talk is not None
        self._send(stream, talk)
        if not self._readable(stream, timeout):
            return self._greeting_overdue(talk)
        found: list[Record] = []
        taken = 0
        while taken < _TAKE and talk.bye is None:
            try:
                data = stream.receive(_READ)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                return found + self._end_of_stream(talk)
            taken += len(data)
            before = talk.info
            for record in talk.feed(data):
                found.extend(self._seen(record))
            if before is None and talk.info is not None:
                found[0:0] = self._went_live(talk)
                self._send(stream, talk)
        if talk.bye is not None:
            found += self._said_goodbye(talk)
        elif any(isinstance(record, Backfill) and record.done for record in found):
            found += self._tell("live", self._connected(talk))
        return found

    def _readable(self, stream: Stream, timeout: float) -> bool:
        # Of a few descriptors once, epoll takes five calls of the system and poll one.
        with selectors.PollSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            selector.register(stream, selectors.EVENT_READ)
            if self._unsent and stream.write_fileno() != stream.fileno():
                selector.register(stream.write_fileno(), selectors.EVENT_WRITE)
            elif self._unsent:
                selector.modify(stream, selectors.EVENT_READ | selectors.EVENT_WRITE)
            ready = selector.select(max(0.0, timeout))
        if any(key.fd == self._wake_read for key, _ in ready):
            self._clear_wake()
            if not self._closed:
                self._send(stream, self._talk)
        return not self._closed and any(
            key.fileobj is stream and mask & selectors.EVENT_READ for key, mask in ready
        )

    def _send(self, stream: Stream, talk: Conversation | None) -> None:
        if talk is None:
            return
        with self._lock:
            while self._commands and talk.info is not None:
                command = self._commands.popleft()
                self._waiting[command.id] = command
                talk.ask(command)
        self._unsent += talk.outgoing()
        if self._unsent:
            with contextlib.suppress(OSError):  # a broken pipe shows itself when reading
                self._unsent = self._unsent[stream.send(self._unsent) :]

    def _went_live(self, talk: Conversation) -> list[Record]:
        """After the greeting: say so, and ask again for what was not answered."""
        assert talk.info is not None
        self._ended = False
        links = self._tell("live", self._connected(talk))
        waiting = list(self._waiting.values())
        if talk.restarted:
            self._waiting.clear()
            return [*links, *unanswered(waiting)]
        for command in waiting:
            talk.ask(command)
        return links

    def _connected(self, talk: Conversation) -> str:
        assert talk.info is not None
        uid = self.other_user
        whose = "" if uid is None else f", which is served by uid {uid}, not you"
        backlog = self._cursor.backlog
        rest = "" if backlog is None else f"; {backlog.left:,} older rows are on their way"
        return f"connected to {talk.info.name} on {self.name}{whose}{rest}"

    def _seen(self, record: Record) -> list[Record]:
        self._broken = 0
        if isinstance(record, Reply):
            self._waiting.pop(record.id, None)
        return [record]

    def _greeting_overdue(self, talk: Conversation) -> list[Record]:
        if self._closed or talk.info is not None:
            return []
        if time.monotonic() - self._opened < GREETING:
            return []
        self._hang_up()
        self._retry_at = time.monotonic() + _RETRY_LATER
        text = f"{self.name} accepts connections but says nothing: is the training stopped?"
        return self._tell("waiting", text)

    def _end_of_stream(self, talk: Conversation) -> list[Record]:
        if talk.bye is not None:
            return self._said_goodbye(talk)
        words = ""
        if talk.info is None and self._stream is not None:
            words = self._stream.last_words()
        self._hang_up()
        self._retry_at = time.monotonic() + self.endpoint.retry
        if talk.info is None:
            return self._tell("waiting", words or f"{self.name} {_NOBODY}")
        return self._tell(
            "reconnecting",
            f"waiting for {self.name}: {talk.info.name} broke off without goodbye (killed?)",
        )

    def _said_goodbye(self, talk: Conversation) -> list[Record]:
        bye = talk.bye
        assert bye is not None
        self._hang_up()
        self._retry_at = time.monotonic() + _RETRY_LATER
        if bye.code in ("refused", "protocol"):
            raise SourceError(f"{self.name}: {bye.reason}")
        if bye.code == "full":
            return self._tell("waiting", f"{self.name}: {bye.reason}")
        links = self._tell("ended", bye.reason)
        self._ended = True
        lost = unanswered(list(self._waiting.values()))
        self._waiting.clear()
        return [*links, *lost]
