"""A fault at every system call of the alerts' outbox: a message is kept whole or refused whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vlamon.alerts.alert import Alert
from vlamon.alerts.message import Message
from vlamon.alerts.outbox import Outbox

CALLS = ("open", "write", "fsync", "replace")
"""Of one message, in this order; then its directory is opened and synced."""
ALL = len(CALLS) + 2
Happens = Callable[..., Any]


def message(number: int) -> Message:
    alert = Alert(f"e{number}", "explosion", "high", "run", "host", number, 1.0, "closs exploded")
    return Message(f"e{number}", f"title {number}", "body", "high", alert)


def put_with(fault: Callable[[], Any], directory: Path, at: int) -> int:
    """Put two messages, with the fault at one call; returns how many calls there were."""
    calls = 0

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == at:
                fault()
            return real(*arguments, **options)

        return call

    box = Outbox(directory)
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, wrapped(getattr(os, name)))
        for number in (1, 2):
            try:
                box.put("webhook", message(number))
            except OSError:
                continue
    return calls


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
def test_a_message_that_the_disk_does_not_take_leaves_the_others_whole(
    tmp_path: Path, code: int
) -> None:
    def fail() -> None:
        raise OSError(code, os.strerror(code))

    at, calls = 0, 9
    while at < calls:
        at += 1
        directory = tmp_path / str(at)
        calls = put_with(fail, directory, at)
        kept = [waiting.message.id for waiting in Outbox(directory).waiting()]
        lost = (at - 1) // ALL + 1 if (at - 1) % ALL < len(CALLS) else None
        assert kept == [f"e{number}" for number in (1, 2) if number != lost]
        assert not list(directory.glob("*.unreadable"))
        assert not list(directory.glob(".*")), "half a message was left"


@pytest.mark.parametrize("at", range(1, 2 * ALL + 1))
def test_a_crash_at_any_call_leaves_whole_messages(tmp_path: Path, at: int) -> None:
    child = os.fork()
    if child == 0:
        put_with(lambda: os._exit(9), tmp_path, at)
        os._exit(0)
    os.waitpid(child, 0)
    kept = [waiting.message.id for waiting in Outbox(tmp_path).waiting()]
    assert kept == ["e1", "e2"][: (at + ALL - len(CALLS) - 1) // ALL]
    box = Outbox(tmp_path)
    box.put("webhook", message(3))
    assert [waiting.message.id for waiting in box.waiting()] == [*kept, "e3"]
    assert not list(tmp_path.glob(".*")), "half a message was left"


def test_messages_keep_their_order_when_the_clock_is_set_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter((2_000_000_000_000_000_000, 1_000_000_000_000_000_000))
    monkeypatch.setattr("vlamon.alerts.outbox.time.time_ns", lambda: next(times))
    box = Outbox(tmp_path)
    box.put("webhook", message(1))
    box.put("webhook", message(2))
    assert [waiting.message.id for waiting in box.waiting()] == ["e1", "e2"]


@pytest.mark.parametrize("content", ["x" * 50, '{"channel": "webhook"}', "[" * 5000, ""])
def test_half_a_message_is_set_aside_and_the_next_one_sent(tmp_path: Path, content: str) -> None:
    (tmp_path / "00000000000000000001-1-000001.json").write_text(content)
    box = Outbox(tmp_path)
    box.put("webhook", message(2))
    assert [waiting.message.id for waiting in box.waiting()] == ["e2"]
