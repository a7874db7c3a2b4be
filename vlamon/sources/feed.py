"""The thread between a source and the screen: reads records, applies them, tells the view."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from vlamon.protocol.commands import make
from vlamon.records import Backfill, Link, Record
from vlamon.sources import Source, SourceError
from vlamon.store import RunStore

LONG = 100_000
"""Rows from which on freed memory is returned: a tenth of the resident memory after a million."""
WAIT = 0.25
"""Seconds that a read may wait: how long `close` can take with a source that cannot be woken."""


class Feed:
    """Owns a run's store and the thread that fills it.

    `lock` is held while records are applied; a view holds it while it draws from `store`.
    `on_change` is called on the feed's thread after each batch of records, without the lock.
    """

    def __init__(self, source: Source, *, store: RunStore | None = None, named: str = "") -> None:
        self.source = source
        self.named = named
        """How the user named the run, which tells runs of one name apart."""
        self.store = RunStore() if store is None else store
        self.lock = threading.RLock()
        self.on_change: Callable[[], None] | None = None
        self.on_records: Callable[[Sequence[Record]], None] | None = None
        self._behind: RunStore | None = None
        self._closing = threading.Event()
        self._done = threading.Event()
        self._rested = 0
        self._thread = threading.Thread(target=self._run, name="vlamon-feed", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    @property
    def finished(self) -> bool:
        """True when everything was read and nothing more can come."""
        return self._done.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until everything was read; False where that did not happen in time."""
        return self._done.wait(timeout)

    def send(self, name: str, /, **args: Any) -> str:
        """Give a command; returns the id that the `Reply` in `store.replies` will carry.

        Raises an error with a sentence where it is not valid or the run takes no commands.
        """
        command = make(name, **args)
        self.source.send(command)
        return command.id

    def close(self) -> None:
        """Stop reading and release the source; safe to call twice."""
        if not self._closing.is_set():
            self._closing.set()
            self.source.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=2.0)

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                records = self.source.read(WAIT)
                self._take(records)
                if not records:
                    self._rest()
                    if self.source.finished:
                        break
        except SourceError as error:
            if not self._closing.is_set():
                self._take([Link("failed", str(error))])
        except Exception as error:
            # A bug in a source must end as a sentence on the screen, never as a dead thread
            # behind a screen that looks alive.
            if not self._closing.is_set():
                self._take([Link("failed", f"{type(error).__name__} while reading: {error}")])
        finally:
            self._done.set()
            self._changed()

    def _rest(self) -> None:
        """Nothing came for a moment: a history that was loading is here now."""
        if self.store.rows - self._rested > LONG:
            _trim_memory()
        self._rested = self.store.rows

    def _take(self, records: Sequence[Record]) -> None:
        if not records:
            return
        for record in records:
            if isinstance(record, Backfill):
                self._fill(record)
        records = [record for record in records if not isinstance(record, Backfill)]
        # Long histories are applied in pieces, so that a frame never waits for all of them.
        for start in range(0, len(records), 16):
            with self.lock:
                for record in records[start : start + 16]:
                    self.store.apply(record)
        if self.on_records is not None:
            self.on_records(records)
        self._changed()

    def _fill(self, backfill: Backfill) -> None:
        """Gather older rows apart, without the lock: no view draws from them yet."""
        if self._behind is None:
            self._behind = RunStore()
        for record in backfill.records:
            self._behind.apply(record)
        if backfill.done:
            if backfill.before:
                self._behind.append_batches_of(self.store)
            with self.lock:
                if backfill.before:
                    self.store.take_batches_of(self._behind)
                else:
                    self.store.take_rows_of(self._behind)
            self._behind = None

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()


def _trim_memory() -> None:
    """Ask glibc to return to the system what decoding a history freed; other libraries keep it."""
    import ctypes  # milliseconds that a start without a long history does without

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
