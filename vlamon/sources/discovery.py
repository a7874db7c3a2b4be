"""Finds the socket of a training when none is named, and says what runs on each.

Looked at, in this order: `$VLAMON_SOCKET`, `$XDG_RUNTIME_DIR/vlamon/*.sock`, `/tmp/vla*.sock`. Only
sockets of ourselves or root are tried: anybody may put one into /tmp, and would read a command that
was meant for a training. Imports no NumPy: `vlamon status` uses it.
"""

from __future__ import annotations

import glob
import os
import stat
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from vlamon.errors import VlamonError
from vlamon.protocol.address import trusted
from vlamon.records import Link, RunInfo, Status
from vlamon.safe_text import line
from vlamon.sources import SourceError
from vlamon.sources.socket import SocketEndpoint, SocketStream, socket_source
from vlamon.sources.stream import NotThere, StreamSource

TEMPORARY = "/tmp/vla*.sock"
PROBE_SECONDS = 2.0
"""Seconds for a socket to greet before it is listed as silent."""
PROBED = 64
"""Sockets that are tried, the newest ones."""


class NoTrainer(VlamonError):
    """Nothing serves; `status` and `ctl` exit with 3."""

    exit_code = 3


class SeveralTrainers(VlamonError):
    """More than one serves and none was named; the message lists them."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class ProbedSocket:
    """A socket that was tried."""

    path: str
    """Where it is."""
    info: RunInfo | None
    """Its greeting; None where none came in time."""
    status: Status | None
    """What the training does, where it said so."""


def chosen_socket(named: str | None) -> str:
    """The socket to use: the named one, `$VLAMON_SOCKET`, or the only one that serves."""
    path = named or os.environ.get("VLAMON_SOCKET")
    if path:
        if os.path.exists(path) and not is_socket(path):
            raise SourceError(
                f"{path} is not a socket; a journal is opened with `vlamon watch {path}`."
            )
        return path
    found = serving()
    if not found:
        raise NoTrainer(
            f"no training was found: nothing serves {' or '.join(_places())}; "
            "name its socket with --socket PATH."
        )
    if len(found) > 1:
        raise SeveralTrainers(*_choose(found))
    return found[0].path


class AwaitedEndpoint:
    """Where the first training comes to serve, in one of the usual places."""

    retry = 0.25

    def __init__(self) -> None:
        self._found: SocketEndpoint | None = None

    @property
    def name(self) -> str:
        """The socket, once there is one."""
        return "a training" if self._found is None else self._found.name

    def open(self) -> SocketStream:
        """Connect to the one that serves; from then on it is this one, whatever else begins."""
        if self._found is None:
            found = serving()
            if not found:
                raise NotThere(
                    f"no training was found; waiting for one to serve {' or '.join(_places())} "
                    "(another place is named with --socket PATH)"
                )
            if len(found) > 1:
                raise SourceError(*_choose(found))
            self._found = SocketEndpoint(found[0].path)
        return self._found.open()


def serving() -> list[ProbedSocket]:
    """Every training of ours in the usual places; all are asked at once."""
    paths = candidates()[:PROBED]
    found: dict[str, ProbedSocket | None] = {path: ProbedSocket(path, None, None) for path in paths}

    def ask(path: str) -> None:
        found[path] = probe(path)

    threads = [threading.Thread(target=ask, args=(path,), daemon=True) for path in paths]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PROBE_SECONDS + 1.0
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [tried for path in paths if (tried := found[path]) is not None]


def _choose(found: Sequence[ProbedSocket]) -> list[str]:
    listed = [f"  {described(one)}" for one in found]
    return ["several trainings run; choose one with --socket PATH:", *listed]


def candidates() -> list[str]:
    """Sockets of ours in the usual places, newest first."""
    paths = [path for place in _places() for path in glob.glob(place) if _is_our_socket(path)]
    return sorted(dict.fromkeys(paths), key=_age)


def probe(path: str, seconds: float | None = None) -> ProbedSocket | None:
    """The training that serves a socket; None where none does."""
    source = socket_source(path, rows=False)
    try:
        return _greeted(source, path, PROBE_SECONDS if seconds is None else seconds)
    except SourceError:
        return None
    finally:
        source.close()


def described(found: ProbedSocket) -> str:
    """One line for the list."""
    if found.info is None:
        return line(f"{found.path}  (does not answer)")
    doing = ""
    if found.status is not None:
        doing = f", {found.status.state} at step {found.status.step}"
    text = f"{found.path}  {found.info.name} (pid {found.info.pid} on {found.info.host}{doing})"
    return line(text)  # a name with a newline must not forge another training in the list


def _greeted(source: StreamSource, path: str, seconds: float) -> ProbedSocket | None:
    deadline = time.monotonic() + seconds
    info: RunInfo | None = None
    status: Status | None = None
    records = source.read(0.0)
    if source.other_user is not None:  # the name is ours, what answers on it is not
        return None
    while True:
        for record in records:
            if isinstance(record, RunInfo):
                info = record
                deadline = min(deadline, time.monotonic() + 0.3)  # the status comes close behind
            elif isinstance(record, Status):
                status = record
            elif isinstance(record, Link) and record.state == "waiting":
                return None
        left = deadline - time.monotonic()
        if status is not None or left <= 0:
            return ProbedSocket(path, info, status)
        records = source.read(min(left, 0.1))


def _places() -> Sequence[str]:
    # By hand, not in `vlamon.locations`: that imports pathlib, a tenth of what `status` may cost.
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    own = [f"{runtime}/vlamon/*.sock"] if os.path.isabs(runtime) else []
    return [*own, TEMPORARY]


def _is_our_socket(path: str) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISSOCK(found.st_mode) and trusted(found.st_uid)


def is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _age(path: str) -> float:
    try:
        return -os.stat(path).st_mtime
    except OSError:
        return 0.0
