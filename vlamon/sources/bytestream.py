"""Bytes as they come: a file that grows, a pipe, a gzip; one face for all.

A file is watched with inotify and also polled a few times a second: on NFS, Lustre or an overlay no
event comes, and a `stat` costs two microseconds.
"""

from __future__ import annotations

import contextlib
import gzip
import logging
import os
import select
import stat
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Protocol

from vlamon.errors import nearest_file
from vlamon.records import LinkState
from vlamon.sources import SourceError

READ = 1 << 22
GZIP = b"\x1f\x8b"
JOURNAL = b"VLAJ"
"""How a journal begins: told apart here from a log without importing the wire."""
FINGERPRINT = 128
"""Bytes before the reading position that are compared, to notice a file rewritten in place."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one read brought."""

    data: bytes = b""
    """New bytes."""
    restarted: bool = False
    """The file was truncated, rewritten or replaced: a half line from before is void."""
    caught_up: bool = False
    """Everything there is was read."""
    end: bool = False
    """Nothing more can come."""
    link: LinkState | None = None
    """News of the file itself."""
    text: str = ""
    """The sentence that goes with `link`."""


class ByteStream(Protocol):
    """Where bytes come from."""

    def read(self, timeout: float) -> Chunk:
        """The next bytes, waiting at most `timeout` seconds for them."""

    def close(self) -> None:
        """Release everything; a read in progress returns soon."""


def open_stream(path: str, *, follow: bool) -> ByteStream:
    """The stream for a path; `-` is stdin."""
    if path == "-":
        return Pipe(STDIN)
    if os.path.isdir(path):
        raise SourceError(f"{path} is a directory: name the log file in it.")
    if starts_with(path, GZIP):
        return Gzip(path)
    if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        return Pipe(Descriptor(_opened(path)), path)
    if not follow and not os.path.exists(path):
        raise SourceError(
            f"{path} does not exist{nearest_file(path)}; without --once it would be waited for."
        )
    return GrowingFile(path, follow=follow)


@dataclass(slots=True)
class Descriptor:
    """A file descriptor by its present number."""

    number: int


STDIN = Descriptor(0)
"""Where what is piped in can be read; a screen moves it because it reads keys from 0."""


class Pipe:
    """Stdin or a named pipe; what is compressed comes out unpacked."""

    def __init__(self, descriptor: Descriptor, name: str = "stdin") -> None:
        self._descriptor = descriptor
        self._name = name
        self._begin = b""
        self._begun = False
        self._unpacking: Unpacking | None = None

    def read(self, timeout: float) -> Chunk:
        """What the writer wrote; the end where it closed."""
        if self._unpacking is not None and self._unpacking.more:
            return Chunk(self._unpack(b""))
        ready, _, _ = select.select([self._descriptor.number], [], [], timeout)
        if not ready:
            return Chunk(caught_up=True)
        data = os.read(self._descriptor.number, READ)
        if not self._begun:
            data = self._beginning(data)
        if self._unpacking is None:
            return Chunk(data, end=self._begun and not data)
        if data:
            return Chunk(self._unpack(data))
        text = f"{self._name} breaks off in the middle; what came before is shown"
        return Chunk(end=True, link="live", text=text) if self._unpacking.torn else Chunk(end=True)

    def close(self) -> None:
        """Leave stdin to the process; close what was opened."""
        if self._descriptor is not STDIN:
            os.close(self._descriptor.number)

    def _beginning(self, data: bytes) -> bytes:
        """Hold the first bytes back until they tell whether all is compressed."""
        self._begin += data
        if data and len(self._begin) < len(GZIP) and GZIP.startswith(self._begin):
            return b""
        self._begun = True
        if self._begin.startswith(GZIP):
            self._unpacking = Unpacking()
        held, self._begin = self._begin, b""
        return held

    def _unpack(self, data: bytes) -> bytes:
        assert self._unpacking is not None
        try:
            return self._unpacking.unpack(data)
        except zlib.error as error:
            raise SourceError(f"{self._name} cannot be unpacked: {error}.") from error


class Unpacking:
    """Unpacks a gzip that comes in pieces, one member after the other."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self._packed = b""
        self.more = False
        """Whether something may be left to unpack without further bytes."""
        self.torn = False
        """Whether what came so far breaks off within a member."""

    def unpack(self, data: bytes) -> bytes:
        """At most READ bytes of what these and those before hold."""
        out = self._member.decompress(self._packed + data, READ)
        self._packed = self._member.unconsumed_tail
        self.torn = not self._member.eof
        self.more = bool(self._packed) or len(out) == READ
        if self._member.eof:
            self._packed = self._member.unused_data.lstrip(b"\0")  # members may be padded
            self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            self.more = bool(self._packed)
        return out


class Gzip:
    """A compressed log: read once to its end, since it does not grow."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = gzip.GzipFile(path, "rb")

    def read(self, timeout: float) -> Chunk:
        """The next megabytes; a torn end gives what could be read before it."""
        try:
            data = self._file.read1(READ)
        except EOFError:
            text = f"{self._path} breaks off in the middle; what came before is shown"
            return Chunk(end=True, link="live", text=text)
        except (OSError, zlib.error) as error:
            raise SourceError(f"{self._path} cannot be unpacked: {error}.") from error
        return Chunk(data, end=not data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class GrowingFile:
    """A file that is appended to, rotated, truncated, or not there yet."""

    def __init__(self, path: str, *, follow: bool) -> None:
        self._path = path
        self._follow = follow
        self._file: IO[bytes] | None = None
        self._position = 0
        self._before = b""
        self._touched = (0, 0)
        self._waiting_reported = False
        self._changed = threading.Event()
        self._unwatch: Callable[[], None] | None = None

    def read(self, timeout: float) -> Chunk:
        """New bytes, after at most `timeout` seconds."""
        chunk = self._look()
        if chunk.data or chunk.end or chunk.link or not self._follow:
            return chunk
        if self._unwatch is None:
            self._unwatch = watch(self._path, self._changed)
            return self._look()  # what was written before the watch stood
        self._changed.wait(timeout)
        self._changed.clear()
        return self._look()

    def close(self) -> None:
        """Close the file and its watch."""
        if self._unwatch is not None:
            self._unwatch()
        self._changed.set()
        if self._file is not None:
            self._file.close()

    def _look(self) -> Chunk:
        if self._file is None:
            try:
                self._file = open(self._path, "rb", buffering=0)  # noqa: SIM115
            except FileNotFoundError:
                return self._absent()
            except OSError as error:
                raise SourceError(f"{self._path} cannot be read: {error.strerror}.") from error
        try:
            status = os.fstat(self._file.fileno())
            rewritten = self._rewritten(status)
            if rewritten:
                self._position, self._before = 0, b""
                self._file.seek(0)
            data = self._file.read(READ)
        except ValueError:  # closed by another thread
            return Chunk(end=True)
        except OSError as error:
            raise SourceError(f"{self._path} cannot be read on: {error.strerror}.") from error
        self._touched = (status.st_size, status.st_mtime_ns)
        if data:
            self._position += len(data)
            self._before = (self._before + data[-FINGERPRINT:])[-FINGERPRINT:]
        elif self._replaced(status):
            return self._turned_over()
        text = f"{self._path} was rewritten; reading from its start" if rewritten else ""
        return Chunk(
            data,
            restarted=rewritten,
            caught_up=not data,
            end=not data and not self._follow,
            link="live" if rewritten else None,
            text=text,
        )

    def _absent(self) -> Chunk:
        if not self._follow:
            raise SourceError(f"{self._path} does not exist.")
        if self._waiting_reported:
            return Chunk()
        self._waiting_reported = True
        return Chunk(link="waiting", text=f"waiting for {self._path} to appear")

    def _rewritten(self, status: os.stat_result) -> bool:
        """Whether the bytes that were read are no longer there."""
        if status.st_size < self._position:
            return True
        if not self._before or (status.st_size, status.st_mtime_ns) == self._touched:
            return False
        start = self._position - len(self._before)
        assert self._file is not None
        return os.pread(self._file.fileno(), len(self._before), start) != self._before

    def _replaced(self, status: os.stat_result) -> bool:
        """Whether the path now names another file (log rotation)."""
        if not self._follow:
            return False
        try:
            now = os.stat(self._path)
        except OSError:
            return False  # moved away, the new one is not there yet: go on with the old one
        return (now.st_ino, now.st_dev) != (status.st_ino, status.st_dev)

    def _turned_over(self) -> Chunk:
        assert self._file is not None
        self._file.close()
        self._file = None
        self._position, self._before = 0, b""
        # The old file's last line gets its newline, should it lack one.
        return Chunk(
            b"\n", link="live", text=f"{self._path} was replaced; going on with the new file"
        )


def watch(path: str, changed: threading.Event) -> Callable[[], None]:
    """Set `changed` when something happens to the path; returns how to stop.

    Where the system gives no watch (none left, a directory that is not there), polling alone
    has to do: the reader looks several times a second anyway.
    """
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    # Its thread complains on stderr where it is stopped while it reads: over the screen or last.
    logging.getLogger("watchdog").addHandler(logging.NullHandler())
    directory, name = os.path.split(os.path.abspath(path))

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if event.event_type not in ("opened", "closed_no_write") and name in (
                os.path.basename(os.fsdecode(event.src_path)),
                os.path.basename(os.fsdecode(event.dest_path or "")),
            ):
                changed.set()

    try:
        # An observer takes its inotify instance when it is made, newer ones of watchdog at least.
        observer: Any = Observer()
        observer.schedule(Handler(), directory, recursive=False)
        observer.start()
    except (OSError, RuntimeError):
        return lambda: None

    def stop() -> None:
        observer.stop()
        with contextlib.suppress(RuntimeError):
            observer.join(timeout=1.0)

    return stop


def starts_with(path: str, magic: bytes) -> bool:
    """Whether a regular file begins with these bytes; False where it cannot be read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False
        with open(path, "rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error
