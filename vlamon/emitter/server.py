"""Serves a run to its monitors: one thread, one selector, a cursor a subscriber.

Nothing here may ever wait for a monitor. A subscriber costs its cursor and the frame that is being
sent; whoever reads nothing for 30 s is dropped and comes back where it was.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from vlamon.emitter.blocklog import Forgotten
from vlamon.emitter.commands import OrderDesk
from vlamon.emitter.history import Fetch, History
from vlamon.protocol import block as blocks
from vlamon.protocol import messages, parsing
from vlamon.protocol.address import BoundSocket, Peer, peer_of
from vlamon.protocol.frames import FROM_MONITOR, FrameReader, Message, ProtocolError, pack
from vlamon.protocol.sanitize import text
from vlamon.records import Gap, Reply

SUBSCRIBERS = 64
"""Monitors at once."""
STALL = 30.0
"""Seconds after which a monitor that reads nothing is dropped."""
_TURN = 4 << 20
"""Bytes for one subscriber before the others get their turn."""
_READ = 32 << 10
_FORGOTTEN = "older than the trainer's memory, and there is no journal to read it from"
_DAMAGED = "the journal has lost them"


@dataclass(eq=False, slots=True)
class Subscriber:
    """One connection: what it has been sent, and what is on its way."""

    sock: socket.socket
    peer: Peer
    progress: float
    """When bytes last went out or came in, monotonic."""
    reader: FrameReader = field(default_factory=lambda: FrameReader(FROM_MONITOR))
    outbox: deque[bytes] = field(default_factory=deque)
    """Frames for this one alone: greeting, replies, gaps, last words."""
    sending: memoryview | None = None
    subscribed: bool = False
    rows: bool = True
    seq: int = 0
    note: int = 0
    gpu: int = 0
    status: int = 0
    greeting: int = 0
    fetch: Fetch | None = None
    blocked: bool = False
    """The kernel takes no more at the moment."""
    closing: bool = False
    """Close when the outbox is empty."""


class Server:
    """Run from the sidecar's thread only."""

    def __init__(
        self, bound: BoundSocket, history: History, orders: OrderDesk, share: bool = False
    ) -> None:
        self.bound = bound
        self.history = history
        self.orders = orders
        self.share = share
        self.stall = STALL
        self.flush: Callable[[], None] = _nothing
        """Brings the log up to date; called when a monitor subscribes."""
        self.subscribers: list[Subscriber] = []
        self.sent = 0
        """Bytes that the kernel took, of all subscribers."""
        self._selector = selectors.DefaultSelector()
        self._selector.register(bound.listener, selectors.EVENT_READ, None)
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self._selector.register(self._wake_out, selectors.EVENT_READ, "wake")

    def wake(self) -> None:
        """End the wait of `serve` from another thread (the journal's, never the training's)."""
        try:
            self._wake_in.send(b"\0")
        except OSError:
            return  # full: it is awake already; closed: nobody waits

    def serve(self, timeout: float) -> None:
        """Move every byte that can move, waiting at most `timeout` seconds for sockets in between.

        What is new goes out before the wait: behind it every value would be a whole turn late.
        """
        self._push_all()
        for key, mask in self._selector.select(timeout):
            if key.data is None:
                self._accept()
            elif key.data == "wake":
                self._drain_wake()
            else:
                subscriber: Subscriber = key.data
                if mask & selectors.EVENT_WRITE:
                    subscriber.blocked = False
                if mask & selectors.EVENT_READ:
                    self._receive(subscriber)
        self._push_all()

    def _push_all(self) -> None:
        now = time.monotonic()
        for subscriber in list(self.subscribers):
            try:
                self._push(subscriber, now)
            except Exception:
                self._drop(subscriber)  # a fault with one must not repeat itself, nor hurt others
                raise

    @property
    def idle(self) -> bool:
        """Whether every subscriber has everything."""
        return all(self._done(subscriber) for subscriber in self.subscribers)

    def say_goodbye(self, reason: str) -> None:
        """Queue last words behind all that a subscriber has still to get."""
        for subscriber in self.subscribers:
            subscriber.outbox.append(pack(messages.bye(reason, "ended")))
            subscriber.closing = True

    def close(self) -> None:
        """Close every connection and give the path back."""
        for subscriber in list(self.subscribers):
            self._drop(subscriber)
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()
        self.bound.close()

    def abandon(self) -> None:
        """In a forked child: close the copies of all descriptors; the parent goes on serving."""
        for subscriber in self.subscribers:
            subscriber.sock.close()
        self._selector.close()
        self._wake_in.close()
        self._wake_out.close()
        self.bound.abandon()

    # ---- connections ----

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.bound.listener.accept()
            except OSError:  # none left, or no descriptors: the next tick tries again
                return
            connection.setblocking(False)
            # Its first order may come with its first breath: the greeting must be of this moment.
            self.history.tell_control(self.orders.serving)
            subscriber = Subscriber(connection, peer_of(connection), time.monotonic())
            reason, code = self._refusal(subscriber.peer)
            if reason:
                subscriber.outbox.append(pack(messages.bye(reason, code)))
                subscriber.closing = True
            else:
                subscriber.outbox.append(self.history.greeting)
                subscriber.greeting = self.history.greetings
            self.subscribers.append(subscriber)
            self._selector.register(connection, selectors.EVENT_READ, subscriber)

    def _refusal(self, peer: Peer) -> tuple[str, str]:
        if not self.share and peer.uid not in (os.geteuid(), 0):
            reason = f"this training belongs to uid {os.geteuid()} and is not shared"
            return reason + f" with uid {peer.uid} (its owner can start it with share)", "refused"
        if len(self.subscribers) >= SUBSCRIBERS:
            return f"{SUBSCRIBERS} monitors watch this training already", "full"
        return "", ""

    def _drop(self, subscriber: Subscriber) -> None:
        if subscriber in self.subscribers:
            self.subscribers.remove(subscriber)
            self._selector.unregister(subscriber.sock)
            subscriber.sock.close()

    def _drain_wake(self) -> None:
        try:
            while self._wake_out.recv(4096):
                pass
        except BlockingIOError:
            return

    # ---- from a monitor ----

    def _receive(self, subscriber: Subscriber) -> None:
        try:
            data = subscriber.sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(subscriber)
            return
        if subscriber.closing:
            return
        try:
            subscriber.reader.feed(data)
            for message in subscriber.reader.messages():
                self._obey(subscriber, message)
        except ProtocolError as error:
            subscriber.outbox.append(pack(messages.bye(text(error), "protocol")))
            subscriber.closing = True

    def _obey(self, subscriber: Subscriber, message: Message) -> None:
        name = message["t"]
        if name == "subscribe":
            self._subscribe(subscriber, message)
        elif name == "command":
            command = parsing.read_command(message)

            def tell(reply: Reply) -> None:
                subscriber.outbox.append(pack(messages.reply(reply)))

            self.orders.take(command, subscriber.peer, tell)
        else:
            raise ProtocolError(f"a monitor may send subscribe and command, not {name!r:.40}")

    def _subscribe(self, subscriber: Subscriber, message: Message) -> None:
        parsing.check_monitor(message)
        request = parsing.read_subscribe(message)
        self.flush()
        subscriber.subscribed = True
        subscriber.rows = request.rows
        known = not request.boot or request.boot == self.history.info.boot
        subscriber.seq = min(request.since_seq, self.history.log.end) if known else 0
        subscriber.note = min(request.since_note, len(self.history.notes)) if known else 0
        newest = self.history.log.newest()
        if not request.rows and newest is not None:
            last = blocks.cut(newest, newest.rows - 1, newest.rows)
            subscriber.outbox.append(pack(blocks.to_message(last)))

    # ---- to a monitor ----

    def _push(self, subscriber: Subscriber, now: float) -> None:
        """Send until the kernel takes no more, nothing is left, or others are due."""
        budget = _TURN
        while budget > 0 and not subscriber.blocked:
            if subscriber.sending is None:
                frame = self._next(subscriber)
                if frame is None:
                    break
                subscriber.sending = memoryview(frame)
            try:
                sent = subscriber.sock.send(subscriber.sending)
            except BlockingIOError:
                subscriber.blocked = True
                break
            except OSError:
                self._drop(subscriber)
                return
            budget -= sent
            self.sent += sent
            subscriber.progress = now
            rest = subscriber.sending[sent:]
            subscriber.sending = rest if len(rest) else None
        if subscriber.closing and subscriber.sending is None and not subscriber.outbox:
            self._drop(subscriber)
            return
        silent = not subscriber.subscribed or subscriber.blocked or subscriber.closing
        if not silent:
            subscriber.progress = now
        elif now - subscriber.progress > self.stall:
            self._drop(subscriber)
            return
        wants_write = subscriber.sending is not None or budget <= 0
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if wants_write else 0)
        if self._selector.get_key(subscriber.sock).events != mask:
            self._selector.modify(subscriber.sock, mask, subscriber)

    def _done(self, subscriber: Subscriber) -> bool:
        if subscriber.sending is not None or subscriber.outbox:
            return False
        if not subscriber.subscribed:
            return True
        rows = not subscriber.rows or subscriber.seq >= self.history.log.end
        return rows and subscriber.note >= len(self.history.notes)

    def _next(self, subscriber: Subscriber) -> bytes | None:
        """The next frame for this subscriber, in the order in which things happened."""
        history = self.history
        refused = subscriber.closing and not subscriber.subscribed
        if subscriber.greeting != history.greetings and not refused:
            subscriber.greeting = history.greetings
            return history.greeting
        if subscriber.outbox and not subscriber.closing:
            return subscriber.outbox.popleft()
        if subscriber.subscribed:
            if subscriber.status != history.statuses:
                subscriber.status = history.statuses
                return history.status_frame
            frame = self._next_of_history(subscriber)
            if frame is not None:
                return frame
        return subscriber.outbox.popleft() if subscriber.outbox else None

    def _next_of_history(self, subscriber: Subscriber) -> bytes | None:
        history = self.history
        note = history.notes.due(
            subscriber.note, subscriber.seq if subscriber.rows else history.log.end
        )
        if note is not None:
            subscriber.note += 1
            return note
        if subscriber.rows:
            rows = self._next_rows(subscriber)
            if rows is not None:
                return rows
        sample = history.gpu_after(subscriber.gpu)
        if sample is not None:
            subscriber.gpu, frame = sample
            return frame
        return None

    def _next_rows(self, subscriber: Subscriber) -> bytes | None:
        if subscriber.fetch is not None:
            return self._next_fetched(subscriber)
        piece = self.history.log.read(subscriber.seq)
        if piece is None:
            return None
        if not isinstance(piece, Forgotten):
            subscriber.seq = piece.end
            return piece.frame
        if self.history.fetch is not None:
            subscriber.fetch = self.history.fetch(subscriber.seq)
            return None
        return self._skip(subscriber, piece.resume, piece.resume_step, _FORGOTTEN)

    def _next_fetched(self, subscriber: Subscriber) -> bytes | None:
        """Rows that the journal's thread has read back; None while it is at it."""
        fetch = subscriber.fetch
        assert fetch is not None
        if not fetch.done.is_set():
            return None
        if fetch.pieces:
            piece = fetch.pieces[0]
            if piece.seq > subscriber.seq:
                return self._skip(subscriber, piece.seq, piece.first_step, _DAMAGED)
            subscriber.seq = piece.end
            fetch.pieces.popleft()
            if not fetch.pieces:
                subscriber.fetch = None
            return piece.frame
        subscriber.fetch = None
        gone = self.history.log.read(subscriber.seq)
        if isinstance(gone, Forgotten):
            return self._skip(subscriber, gone.resume, gone.resume_step, _DAMAGED)
        return None

    def _skip(
        self, subscriber: Subscriber, resume: int, resume_step: int | None, reason: str
    ) -> bytes:
        """Move the cursor forward and say what was lost."""
        rows = resume - subscriber.seq
        subscriber.seq = resume
        last = None if resume_step is None else resume_step - 1
        return pack(messages.gap(Gap(rows, None, last, reason)))


def _nothing() -> None:
    """The log is always up to date."""
