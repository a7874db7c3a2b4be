"""A fault at every system call of a durable write: the checkpoint before it stays, or this one is
whole, and the next write finds nothing in its way."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from vlamon.guard.checkpoint.sharded import Shards
from vlamon.guard.checkpoint.writer import Durable, DurableError, Written
from vlamon.guard.state.sharding import named

CALLS = ("open", "write", "fsync", "rename", "mkdir", "close", "unlink", "rmdir", "statvfs")
WRITE = os.write


def whole(store: Durable, step: int) -> Written:
    return store.write(step, {"w": torch.full((300_000,), float(step)), "step": step})


def shards(store: Durable, step: int) -> Written:
    state = {"w": torch.full((300_000,), float(step)), "step": step}
    mine = Shards(0, 1, list(named(state, {}, 0)))
    written = store.write_shards(step, state, mine, f"{os.getpid()}-test.{step}", {})
    assert written is not None
    return written


class Fault:
    """Does something at one call, and counts them all."""

    def __init__(self, at: int, happens: Callable[[Any, tuple[Any, ...]], Any]) -> None:
        self.at, self.happens, self.calls = at, happens, 0

    @contextmanager
    def in_force(self) -> Iterator[None]:
        before = {name: getattr(os, name) for name in CALLS}
        for name, real in before.items():
            setattr(os, name, self.wrapped(real))
        try:
            yield
        finally:
            for name, real in before.items():
                setattr(os, name, real)

    def wrapped(self, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == self.at:
                found = self.happens(real, arguments)
                if found is not None:
                    return found
            return real(*arguments, **options)

        return call


def failing(code: int) -> Callable[[Any, tuple[Any, ...]], None]:
    def happens(real: Any, arguments: tuple[Any, ...]) -> None:
        if real.__name__ == "close":
            real(*arguments)  # the kernel frees a descriptor whatever `close` reports
        raise OSError(code, os.strerror(code))

    return happens


def short(real: Any, arguments: tuple[Any, ...]) -> int | None:
    """Half of it is written."""
    if real is not WRITE or len(arguments[1]) < 2:
        return None
    return WRITE(arguments[0], arguments[1][: len(arguments[1]) // 2])


def slow(real: Any, arguments: tuple[Any, ...]) -> None:
    time.sleep(0.01)


def intact(store: Durable) -> int:
    loaded = store.load()
    assert loaded is not None
    assert loaded.passed_over == ()
    assert bool((loaded.state["w"] == float(loaded.step)).all())
    return loaded.step


@pytest.mark.parametrize("write", [whole, shards])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_an_error_at_any_call_leaves_a_whole_checkpoint_in_force(
    tmp_path: Path, write: Callable[[Durable, int], Written], code: int
) -> None:
    at, descriptors = 0, len(os.listdir("/proc/self/fd"))
    while True:
        at += 1
        store = Durable(tmp_path / str(at), keep=1)
        write(store, 1)
        fault = Fault(at, failing(code))
        said = ""
        try:
            with fault.in_force():
                write(store, 2)
        except DurableError as error:
            said = str(error)
        assert os.strerror(code) in said or intact(store) == 2
        assert intact(store) in (1, 2)
        write(store, 3)
        assert {path.name for path in store.root.iterdir()} == {"latest", "step-000000003"}
        if fault.calls < at:
            break
    assert at > 20
    assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("write", [whole, shards])
@pytest.mark.parametrize("happens", [short, slow])
def test_a_short_or_slow_call_costs_nothing_but_time(
    tmp_path: Path, write: Callable[[Durable, int], Written], happens: Any
) -> None:
    at = 0
    while True:
        at += 1
        store, fault = Durable(tmp_path / str(at)), Fault(at, happens)
        with fault.in_force():
            write(store, 2)
        assert intact(store) == 2
        if fault.calls < at:
            break


@pytest.mark.parametrize("write", [whole, shards])
def test_signals_during_a_write_interrupt_nothing(
    tmp_path: Path, write: Callable[[Durable, int], Written]
) -> None:
    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for step in range(5):
            write(Durable(tmp_path), step)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert intact(Durable(tmp_path)) == 4
