"""Looking for a training: ours alone, all places at once, and never a stranger's server."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlamon import Emitter
from vlamon.commands.relay import CommandFilter
from vlamon.protocol.address import BoundSocket
from vlamon.protocol.commands import Command
from vlamon.protocol.frames import FROM_MONITOR, FrameReader, pack
from vlamon.protocol.messages import Subscription, decode, decode_request, encode
from vlamon.records import Reply
from vlamon.sources import SourceError, discovery
from vlamon.sources.socket import socket_source

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where sockets are looked for, as others may enter it: pytest's own directories are ours."""
    monkeypatch.delenv("VLAMON_SOCKET", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o1777)
        monkeypatch.setattr(discovery, "TEMPORARY", f"{folder}/vla*.sock")
        yield Path(folder)


def strangers_socket(path: Path) -> BoundSocket:
    """A socket that another user serves."""
    os.seteuid(65534)
    try:
        return BoundSocket(str(path), share=True)
    finally:
        os.seteuid(0)


@only_root
def test_a_strangers_socket_is_never_tried(place: Path) -> None:
    bound = strangers_socket(place / "vla-trap.sock")
    with Emitter(place / "vla-mine.sock"):
        assert [found.path for found in discovery.serving()] == [str(place / "vla-mine.sock")]
    with pytest.raises(BlockingIOError):
        bound.listener.accept()
    bound.close()


@only_root
def test_no_command_is_sent_to_a_stranger(place: Path) -> None:
    bound = strangers_socket(place / "vla-trap.sock")
    source = socket_source(place / "vla-trap.sock")
    source.read(0.0)
    assert source.other_user == 65534
    with pytest.raises(SourceError, match="served by uid 65534; only its owner may give commands"):
        source.send(Command("c", "note", {"text": "the password is"}))
    source.close()
    bound.close()


def test_the_socket_of_a_training_that_was_killed_is_passed_over(place: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(place / "vla-killed.sock"))
    left.close()
    assert discovery.serving() == []
    with pytest.raises(discovery.NoTrainer):
        discovery.chosen_socket(None)
    with Emitter(place / "vla-alive.sock"):
        assert discovery.chosen_socket(None) == str(place / "vla-alive.sock")


def test_silent_sockets_are_asked_all_at_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "PROBE_SECONDS", 0.5)
    silent = []
    for number in range(20):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(place / f"vla-{number}.sock"))
        listener.listen()
        silent.append(listener)
    began = time.monotonic()
    assert len(discovery.serving()) == 20
    assert time.monotonic() - began < 20 * 0.5  # what one after the other would take
    for listener in silent:
        listener.close()


def test_the_relay_keeps_commands_from_a_stranger() -> None:
    relay = CommandFilter(1001)
    sent = pack(encode(Subscription(5))) + pack(encode(Command("c-1", "note", {"text": "hm"})))
    onward, back = relay.split(sent[:10])
    for at in range(10, len(sent), 7):
        more, answered = relay.split(sent[at : at + 7])
        onward, back = onward + more, back + answered
    reader = FrameReader(FROM_MONITOR)
    reader.feed(onward)
    assert [decode_request(message) for message in reader.messages()] == [Subscription(5)]
    reader.feed(back)
    (reply,) = [decode(message) for message in reader.messages()]
    assert isinstance(reply, Reply)
    assert (reply.id, reply.ok) == ("c-1", False)
    assert "belongs to uid 1001" in reply.error
