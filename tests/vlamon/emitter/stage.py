"""A server whose thread is the test, and monitors made of a socket and nothing else."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from tests.vlamon.emitter.test_blocklog import plain_blocks
from tests.vlamon.protocol.strategies import rows_of
from vlamon.emitter.blocklog import BlockLog, NoteLog
from vlamon.emitter.commands import CommandInbox
from vlamon.emitter.history import History
from vlamon.emitter.server import Server
from vlamon.protocol import block as blocks
from vlamon.protocol import messages
from vlamon.protocol.address import BoundSocket, connect
from vlamon.protocol.frames import FrameReader, pack
from vlamon.protocol.messages import Subscription
from vlamon.records import RunInfo


class Client:
    """A monitor made of a socket and nothing else."""

    def __init__(self, path: str) -> None:
        self.socket = connect(path, 60.0)
        self.socket.setblocking(False)
        self.reader = FrameReader()
        self.closed = False

    def send(self, message: dict[str, Any] | bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.send(message if isinstance(message, bytes) else pack(message))

    def receive(self) -> list[dict[str, Any]]:
        """What is there, without waiting."""
        try:
            while data := self.socket.recv(1 << 20):
                self.reader.feed(data)
            self.closed = True
        except BlockingIOError:
            pass
        except ConnectionResetError:  # closed with our bytes unread
            self.closed = True
        return list(self.reader.messages())


class Stage:
    """A server whose thread is the test."""

    def __init__(self, path: str, memory: int = 64 << 20, share: bool = False) -> None:
        self.path = path
        self.history = History(RunInfo("run", "goal"), BlockLog(memory=memory), NoteLog())
        self.commands = CommandInbox(os.geteuid())
        self.server = Server(BoundSocket(path, share), self.history, self.commands, share)

    def turn(self, times: int = 5) -> None:
        for _ in range(times):
            self.server.serve(0.0)

    def join(self, **subscription: Any) -> Client:
        client = Client(self.path)
        client.send(messages.encode(Subscription(**subscription)))
        return client

    def talk(self, client: Client) -> list[dict[str, Any]]:
        """Everything that the client gets from now on."""
        found = []
        while True:
            self.turn()
            got = client.receive()
            if not got and not self._coming(client):
                return found
            found += got

    def _coming(self, client: Client) -> bool:
        return any(each.live.fetch is not None for each in self.server.subscribers)

    def log(self, first: int, count: int, **kwargs: Any) -> None:
        for block in plain_blocks(first, count, **kwargs):
            self.history.log.append(block)
            self.history.log.forget(None)


def names(found: list[dict[str, Any]]) -> list[str]:
    return [message["t"] for message in found]


def steps(found: list[dict[str, Any]]) -> list[int]:
    batches = [blocks.from_message(item) for item in found if item["t"] == "batch"]
    return [row[0] for block in batches for row in rows_of(block)]
