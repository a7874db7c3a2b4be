"""Does something in a copy of this process, which a mutant may break as it likes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of <sys/prctl.h>."""


class TookTooLong(Exception):
    """The copy was killed."""


def forked(work: Callable[[], Any], patience: float) -> Any:
    """What it returns; None where the copy died. `TookTooLong` after `patience` seconds."""
    with tempfile.TemporaryFile() as answer:
        child = os.fork()
        if child == 0:
            _work(work, answer)
        try:
            _await(child, patience)
        finally:
            _kill(child)  # with what it has started and left
        answer.seek(0)
        try:
            return pickle.load(answer)
        except EOFError:
            return None


def _await(child: int, patience: float) -> None:
    end, pause = time.monotonic() + patience, 0.001
    while not os.waitpid(child, os.WNOHANG)[0]:
        if time.monotonic() > end:
            _kill(child)
            os.waitpid(child, 0)
            raise TookTooLong
        time.sleep(pause)
        pause = min(2 * pause, 0.02)


def _work(work: Callable[[], Any], answer: Any) -> None:
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    try:
        pickle.dump(work(), answer)
        answer.flush()
    finally:
        os._exit(0)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
