"""`vlamon relay`: carries a training's socket over stdin and stdout, for use behind ssh."""

from __future__ import annotations

import os
import selectors
import socket as sockets
import sys

import click

from vlamon.errors import VlamonError
from vlamon.protocol.address import connect, peer_of, trusted
from vlamon.protocol.frames import FROM_MONITOR, HEADER, FrameReader, pack, unpack
from vlamon.protocol.messages import encode
from vlamon.records import Reply

_READ = 256 << 10
_HELD = 1 << 20
"""Bytes held for a side that does not read; beyond that the other side waits."""


class NoTraining(VlamonError):
    """Nothing serves the socket."""

    exit_code = 3


@click.command("relay")
@click.option("--socket", metavar="PATH", help="The training's socket; found where there is one.")
def command(socket: str | None) -> None:
    """Carry a training's socket over stdin and stdout.

    `ssh node vlamon relay --socket /tmp/vla.sock` is what `vlamon watch --ssh` runs at the far
    end. Exits 3 where no training serves the socket.
    """
    from vlamon.sources.discovery import chosen_socket

    path = chosen_socket(socket)
    try:
        connection = connect(path, timeout=5.0)
    except OSError as error:
        raise NoTraining(f"no training serves {path}: {error.strerror or error}") from error
    with connection:
        uid = peer_of(connection).uid
        keep = None if trusted(uid) else CommandFilter(uid)
        connection.setblocking(False)
        source, sink = sys.stdin.fileno(), sys.stdout.fileno()
        try:
            relay(connection, source, sink, keep)
        finally:
            os.set_blocking(source, True)
            os.set_blocking(sink, True)


class CommandFilter:
    """Keeps commands from a server of another user, who may only share a run."""

    def __init__(self, uid: int) -> None:
        self._uid = uid
        self._reader = FrameReader(FROM_MONITOR)

    def split(self, data: bytes) -> tuple[bytes, bytes]:
        """What goes on to the server, and what is answered in its place."""
        self._reader.feed(data)
        onward, back = b"", b""
        for payload in self._reader.payloads():
            message = unpack(payload, FROM_MONITOR)
            if message["t"] == "command":
                why = f"this training belongs to uid {self._uid}; only its owner may give commands"
                reply = Reply(str(message.get("id", "")), False, error=why)
                back += pack(encode(reply))
            else:
                onward += HEADER.pack(len(payload)) + payload
        return onward, back


def relay(
    connection: sockets.socket, source: int, sink: int, keep: CommandFilter | None = None
) -> None:
    """Copy both ways until either side ends. A slow side makes the other wait; nothing is lost."""
    for descriptor in (source, sink):
        os.set_blocking(descriptor, False)
    upward = bytearray()
    downward = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ, "socket")
        selector.register(source, selectors.EVENT_READ, "source")
        writable = False
        while True:
            events = selectors.EVENT_READ * (len(downward) < _HELD)
            events |= selectors.EVENT_WRITE * bool(upward)
            selector.modify(connection, events or selectors.EVENT_WRITE, "socket")
            if bool(downward) != writable:
                writable = bool(downward)
                if writable:
                    selector.register(sink, selectors.EVENT_WRITE, "sink")
                else:
                    selector.unregister(sink)
            for key, mask in selector.select():
                if key.data == "socket" and mask & selectors.EVENT_READ:
                    data = connection.recv(_READ)
                    if not data:
                        _drain(sink, downward)
                        return
                    downward += data
                elif key.data == "source":
                    data = os.read(source, _READ)
                    if not data:
                        return
                    onward, back = (data, b"") if keep is None else keep.split(data)
                    upward += onward
                    downward += back
            _write(downward, sink)
            if upward:
                try:
                    del upward[: connection.send(upward)]
                except BlockingIOError:
                    continue


def _write(held: bytearray, sink: int) -> None:
    if held:
        try:
            del held[: os.write(sink, held[: 64 << 10])]
        except BlockingIOError:
            return


def _drain(sink: int, held: bytearray) -> None:
    """Last words to a reader that is still there."""
    os.set_blocking(sink, True)
    while held:
        _write(held, sink)
