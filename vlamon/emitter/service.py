"""The threads of an emitter that serves monitors or keeps a journal, made and ended together.

The sidecar packs, stores and sends; the sampler asks the GPUs; the registrar keeps the list of
runs; alerting sends messages, annotating writes into trackers. Each may hang on its own driver,
mount or server, and holds up none of the others.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from vlamon.emitter.alerting import Alerting
from vlamon.emitter.annotating import Annotating
from vlamon.emitter.commands import CommandInbox
from vlamon.emitter.journal_feed import STUCK
from vlamon.emitter.places import Claimed
from vlamon.emitter.progress_timeout import ProgressTimeout
from vlamon.emitter.queue import Item, Owner, StatusChange
from vlamon.emitter.rank_tally import RankTally
from vlamon.emitter.registrar import Registrar
from vlamon.emitter.run_info import continued, entry_of
from vlamon.emitter.server import Server
from vlamon.emitter.sidecar import Sidecar
from vlamon.gpu import Sampler
from vlamon.records import RunInfo


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """How a script wants to be served, besides where."""

    share: bool = False
    """Whether other users may read."""
    read_only: bool = False
    """Whether commands are refused."""
    watch: bool = False
    """Whether the run reports its explosions itself."""
    alert_command: str | None = None
    """Command that gets alerts besides the user's channels; None for no alerts at all."""
    annotate: bool = False
    """Whether events are written into the script's W&B or SwanLab run."""


class Service:
    """Owns these threads. Made on the training thread, and used by the threads after `start`."""

    def __init__(
        self,
        claimed: Claimed,
        info: RunInfo,
        options: ServiceOptions,
        inbox: deque[Item],
        commands: CommandInbox,
        owner: Owner,
        tally: RankTally | None = None,
    ) -> None:
        bound, journal, past = claimed.socket, claimed.journal, claimed.past
        history = continued(past, info, past.last_attempt + 1)
        server = None if bound is None else Server(bound, history, commands, options.share)
        if server is not None and journal is not None:
            journal.wake = server.wake
            history.fetch = journal.fetch
        self._listeners: list[Alerting | Annotating] = []
        if options.alert_command is not None:
            alerting = Alerting(options.alert_command, lambda: history.info, owner.warn)
            self._listeners.append(alerting)
        if options.annotate:
            self._listeners.append(Annotating(owner.warn))
        self.sidecar = Sidecar(
            inbox, history, commands, server, journal, owner, self._listeners, tally
        )
        if options.watch:
            # Detectors need numpy, which a run that reports nothing itself never loads.
            from vlamon.emitter.watching import MODE, Watching

            self.sidecar.watching = Watching(info, owner.warn)
            inbox.append(StatusChange({"guard": MODE}, time.time()))
        self._registrar = Registrar(entry_of(info, bound, journal), lambda: history.status)
        self._sampler = Sampler(inbox.append)
        self._thread = threading.Thread(target=self.sidecar.run, name="vlamon", daemon=True)

    def start(self) -> None:
        """Begin to take what the training logs."""
        self._thread.start()
        self._sampler.start()
        self._registrar.start()

    def stop(self) -> None:
        """Write and send what is left; a disk or a reader that takes nothing ends the wait."""
        self._sampler.stop()
        self.sidecar.stopping.set()
        # The sidecar ends by itself, unless one of its calls never returns.
        timeout = ProgressTimeout(STUCK + 5.0)
        while self._thread.is_alive() and timeout.left(self.sidecar.turns):
            self._thread.join(0.05)
        self._registrar.stop()
        for listener in self._listeners:
            listener.close()
