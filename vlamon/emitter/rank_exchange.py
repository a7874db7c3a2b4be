"""Every rank seen on rank 0, over the job's own store: no collective, no server of ours.

Each rank's thread writes a report of some 50 bytes into c10d's TCPStore twice a second; rank 0's
reads all of them in one request. More than 128 ranks report less often, so that all reports
together stay below 1 Mbit/s. The thread has a connection of its own, because c10d's are locked
while one call waits. A dead or slow rank is simply old, and a store that hangs holds up this thread
alone.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable

from vlamon.detect.ranks import (
    SILENT,
    RankFinding,
    RankJudge,
    RankReport,
    columns,
    interval,
)
from vlamon.emitter.job_store import JobStore
from vlamon.emitter.queue import Item, RankColumns, StatusChange
from vlamon.emitter.rank_gpu import RankGpu
from vlamon.emitter.rank_tally import LONGEST, RankTally, known, pack
from vlamon.emitter.values import PendingValues
from vlamon.ranks import Ranks
from vlamon.records import Event

LAST_LOOK = 1.0
"""Seconds after a failure in which a living rank reports once more, besides one interval."""
LAST_REPORT = 2.0
"""Seconds that the store may take for the last report before its connection is cut."""
RETRY_LOOKS = 20
"""Looks for which a rank is passed over whose report was too long to be one."""
CUTS = 20
"""Times that it is cut: c10d tries to connect again."""


class RankExchange:
    """The thread of one rank that reports, and on rank 0 reads and judges."""

    def __init__(
        self,
        here: Ranks,
        put: Callable[[Item], None],
        make: Callable[..., Event],
        unwatched: deque[Item] | None,
    ) -> None:
        """`put` hands items to the sidecar, `make` makes events.

        A sidecar feeds `tally`; where a rank has none, what it logs is `unwatched`, and read here.
        """
        self.tally = RankTally()
        self._here = here
        self._put = put
        self._make = make
        self._unwatched = unwatched
        self._store = JobStore()
        self._everybody = range(here.world_size)
        self._every = interval(here.world_size)
        self._judge = RankJudge(self._every)
        self._cleared = False
        self._looks = 0
        self._again: dict[int, int] = {}
        """The look at which a rank whose report was too long is asked again."""
        self._reached: float | None = None
        """When the store answered last, after it had once."""
        self._unseen = False
        self._ended = ""
        self._failed = False
        self._gpu = RankGpu(here.local_rank, self.tally.gpu)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="vlamon-ranks", daemon=True)
        self._thread.start()

    def close(self, reason: str, failed: bool) -> None:
        """Report the end; after a failure rank 0 looks once more which ranks are missing.

        A thread that was still inside a call to the store when the interpreter ends could abort the
        process, so a call that lasts is cut.
        """
        self._ended, self._failed = reason or "ended", failed
        self._gpu.stop()
        self._stopping.set()
        self._thread.join(LAST_REPORT + LAST_LOOK + self._every)
        for _ in range(CUTS):
            if not self._thread.is_alive():
                return
            self._store.close()
            self._thread.join(0.1)

    def _run(self) -> None:
        while not self._stopping.wait(self._every):
            self._look()
        if self._here.rank == 0 and self._failed:
            self._last_look()
        elif self._store.connected():
            with contextlib.suppress(Exception):  # the store may be gone with rank 0
                self._drain()
                self._store.put(self._here.rank, pack(self.tally.report(self._ended)))

    def _look(self) -> None:
        self._drain()
        try:
            if not self._store.connected():
                self._note_outage()
                return
            reports = self._exchange()
        except Exception:  # the store is gone or hangs: every report is old by then
            self._store.drop()
            self._note_outage()
            return
        self._note_answer()
        if self._here.rank == 0:
            found = columns(reports)
            if found:
                self._put(RankColumns(found))
            for finding in self._judge.observe(reports, time.monotonic()):
                self._say(finding)

    def _exchange(self) -> dict[int, RankReport]:
        if self._here.rank == 0 and not self._cleared:
            self._store.clear(self._everybody)
            self._cleared = True
        self._store.put(self._here.rank, pack(self.tally.report()))
        return self._read() if self._here.rank == 0 else {}

    def _read(self) -> dict[int, RankReport]:
        """The report of every rank; one that is too long is seldom fetched: it comes whole."""
        self._looks += 1
        asked = [rank for rank in self._everybody if self._looks >= self._again.get(rank, 0)]
        found = self._store.get(asked)
        too_long = (rank for rank, data in found.items() if len(data) > LONGEST)
        self._again |= dict.fromkeys(too_long, self._looks + RETRY_LOOKS)
        return known(found)

    def _note_answer(self) -> None:
        self._reached = time.monotonic()
        if self._unseen:
            self._unseen = False
            self._say(RankFinding("seen", (), None, "the other ranks are seen again"))

    def _note_outage(self) -> None:
        """Without the store rank 0 knows nothing of the others, which is not to say all is well."""
        if self._here.rank or self._unseen or self._reached is None:
            return
        silence = time.monotonic() - self._reached
        if silence >= max(SILENT, 3 * self._every):
            self._unseen = True
            text = (
                f"the job's store has not answered for {silence:.0f} s: "
                "nothing is known of the other ranks"
            )
            self._say(RankFinding("unseen", (), None, text))

    def _last_look(self) -> None:
        if not self._store.connected():
            return
        with contextlib.suppress(Exception):  # the training has failed: this only explains it
            self._judge.observe(self._exchange(), time.monotonic())
            pause = LAST_LOOK + self._every
            time.sleep(pause)
            reports = self._exchange()
            for finding in self._judge.at_the_end(reports, time.monotonic(), pause):
                self._say(finding)

    def _drain(self) -> None:
        """Take the rows and phases of a rank that has no sidecar."""
        items = self._unwatched
        while items:
            try:
                if not self._take(items[0]):
                    return
            except Exception:  # a broken CUDA context, a step that is not a number: this one only
                pass
            items.popleft()

    def _take(self, item: Item) -> bool:
        """Whether it could be taken: a row waits for its copy from the GPU."""
        if isinstance(item, tuple):
            step, _, when, metrics = item
            if isinstance(metrics, PendingValues):
                if not metrics.ready():
                    return False
                metrics = metrics.take()
            self.tally.row(when, int(step), metrics)
        elif isinstance(item, StatusChange) and "phase" in item.fields:
            self.tally.phase(item.time, item.fields["phase"])
        return True

    def _say(self, finding: RankFinding) -> None:
        data = {"ranks": list(finding.ranks), "finding": finding.kind, **finding.data}
        loud = finding.kind not in ("back", "recovered", "seen")
        kind, severity = ("warn", "warn") if loud else ("note", "info")
        self._put(self._make(0, kind, finding.step, finding.text, severity, data))
