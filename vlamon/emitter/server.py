"""Serves a run to its monitors: one thread, one selector, a cursor a subscriber.

Nothing here may ever wait for a monitor. A subscriber costs its cursor and the frame that is being
sent; one that reads nothing for 30 s is dropped and comes back where it was. What monitors send,
and how often they connect, is bounded by allowances: whatever they do, the training keeps its pace.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import replace

from vlamon.emitter.allowance import Allowance
from vlamon.emitter.commands import CommandInbox
from vlamon.emitter.history import History
from vlamon.emitter.row_cursor import RowCursor
from vlamon.emitter.subscriber import Subscriber
from vlamon.protocol import block as blocks
from vlamon.protocol import messages
from vlamon.protocol.address import BoundSocket, peer_of
from vlamon.protocol.commands import Command, Peer
from vlamon.protocol.frames import ProtocolError, pack
from vlamon.protocol.messages import Bye, OlderRows, Subscription
from vlamon.protocol.sanitize import text

SUBSCRIBERS = 64
"""Monitors at once."""
OTHER_USERS = 16
"""Of these, monitors of other users: they must not lock the owner out."""
OUTBOX = 64
"""Frames that may wait for one monitor before nothing more is read from it."""
OTHER_USERS_MESSAGES = (20.0, 100.0)
"""Messages a second, and at once, that are read from all monitors of other users together."""
CONNECTIONS = (50.0, 100.0)
"""Connections a second, and at once, that are accepted."""
STALL = 30.0
"""Seconds after which a monitor that reads nothing is dropped."""
_TURN = 4 << 20
"""Bytes for one subscriber before the others get their turn."""
_READ = 32 << 10


class Server:
    """Run from the sidecar's thread only."""

    def __init__(
        self, bound: BoundSocket, history: History, commands: CommandInbox, share: bool = False
    ) -> None:
        self.bound = bound
        self.history = history
        self.commands = commands
        self.share = share
        self.stall = STALL
        self.flush: Callable[[], None] = _nothing
        """Brings the log up to date; called when a monitor subscribes."""
        self.subscribers: list[Subscriber] = []
        self.sent = 0
        """Bytes that the kernel took, of all subscribers."""
        self._connections = Allowance(*CONNECTIONS)
        self._other_users_messages = Allowance(*OTHER_USERS_MESSAGES)
        self._accepting = True
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
            return  # full: it is awake already; closed: nothing waits

    def serve(self, timeout: float) -> None:
        """Move every byte that can move, waiting at most `timeout` seconds for sockets in between.

        What is new goes out before the wait: after it every value would be a whole turn late.
        """
        self._resume()
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

    def _resume(self) -> None:
        """Go on with what had to wait for an allowance."""
        if not self._accepting:
            self._accept()
        for subscriber in list(self.subscribers):
            if subscriber.reader.pending:
                self._handle_requests(subscriber)

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
        return all(subscriber.up_to_date(self.history) for subscriber in self.subscribers)

    def say_goodbye(self, reason: str) -> None:
        """Queue last words behind all that a subscriber has still to get."""
        for subscriber in self.subscribers:
            subscriber.outbox.append(pack(messages.encode(Bye(reason, "ended"))))
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
        while self._connections.left(time.monotonic()):
            try:
                connection, _ = self.bound.listener.accept()
            except OSError:  # none left, or no descriptors: the next tick tries again
                self._accept_again(True)
                return
            self._connections.spend()
            connection.setblocking(False)
            # Its first command may come with its first bytes: the greeting must be up to date.
            self.history.tell_control(self.commands.serving)
            subscriber = Subscriber(connection, peer_of(connection), time.monotonic())
            reason, code = self._refusal(subscriber.peer)
            if reason:
                subscriber.outbox.append(pack(messages.encode(Bye(reason, code))))
                subscriber.closing = True
            else:
                subscriber.outbox.append(self.history.greeting)
                subscriber.greeting = self.history.greetings
            self.subscribers.append(subscriber)
            self._selector.register(connection, selectors.EVENT_READ, subscriber)
        self._accept_again(False)

    def _accept_again(self, accepting: bool) -> None:
        """Watch the listener, or leave new connections in its queue until there is an allowance."""
        if accepting and not self._accepting:
            self._selector.register(self.bound.listener, selectors.EVENT_READ, None)
        elif self._accepting and not accepting:
            self._selector.unregister(self.bound.listener)
        self._accepting = accepting

    def _refusal(self, peer: Peer) -> tuple[str, str]:
        other = self._is_other_user(peer)
        if other and not self.share:
            reason = f"this training belongs to uid {os.geteuid()} and is not shared"
            return reason + f" with uid {peer.uid} (its owner can start it with share)", "refused"
        if len(self.subscribers) >= SUBSCRIBERS:
            return f"{SUBSCRIBERS} monitors watch this training already", "full"
        others = sum(self._is_other_user(each.peer) for each in self.subscribers)
        if other and others >= OTHER_USERS:
            return f"{OTHER_USERS} monitors of other users watch this training already", "full"
        return "", ""

    def _is_other_user(self, peer: Peer) -> bool:
        return peer.uid not in (os.geteuid(), 0)

    def _drop(self, subscriber: Subscriber) -> None:
        if subscriber in self.subscribers:
            self.subscribers.remove(subscriber)
            self.commands.forget(subscriber)
            self._watch(subscriber, 0)
            subscriber.sock.close()

    def _watch(self, subscriber: Subscriber, events: int) -> None:
        """Have the selector watch a connection for `events`; a selector knows no watch for none."""
        before, subscriber.events = subscriber.events, events
        if events == before:
            return
        if not before:
            self._selector.register(subscriber.sock, events, subscriber)
        elif not events:
            self._selector.unregister(subscriber.sock)
        else:
            self._selector.modify(subscriber.sock, events, subscriber)

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
        subscriber.reader.feed(data)
        self._handle_requests(subscriber)

    def _handle_requests(self, subscriber: Subscriber) -> None:
        """Take the messages that have come whole, as many as the allowances permit."""
        messages_ = subscriber.reader.messages()
        try:
            while not subscriber.closing and self._has_allowance(subscriber):
                message = next(messages_, None)
                if message is None:
                    return
                subscriber.allowance.spend()
                if self._is_other_user(subscriber.peer):
                    self._other_users_messages.spend()
                self._handle(subscriber, messages.decode_request(message))
        except ProtocolError as error:
            subscriber.outbox.append(pack(messages.encode(Bye(text(error), "protocol"))))
            subscriber.closing = True

    def _has_allowance(self, subscriber: Subscriber) -> bool:
        now = time.monotonic()
        return (
            len(subscriber.outbox) < OUTBOX
            and subscriber.allowance.left(now)
            and (not self._is_other_user(subscriber.peer) or self._other_users_messages.left(now))
        )

    def _handle(self, subscriber: Subscriber, request: Subscription | OlderRows | Command) -> None:
        if isinstance(request, Command):
            self.commands.take(replace(request, origin=subscriber.peer), subscriber)
        elif isinstance(request, OlderRows):
            self._send_older_rows(subscriber, request)
        else:
            self._subscribe(subscriber, request)

    def _subscribe(self, subscriber: Subscriber, request: Subscription) -> None:
        if subscriber.subscribed:
            raise ProtocolError("a connection subscribes once")
        self.flush()
        subscriber.subscribed = True
        subscriber.rows = request.rows
        known = not request.boot or request.boot == self.history.info.boot
        subscriber.live.seq = min(request.since_seq, self.history.log.end) if known else 0
        subscriber.note = min(request.since_note, len(self.history.notes)) if known else 0
        newest = self.history.log.newest()
        if not request.rows and newest is not None:
            last = blocks.cut(newest, newest.rows - 1, newest.rows)
            subscriber.outbox.append(pack(blocks.to_message(last)))

    def _send_older_rows(self, subscriber: Subscriber, request: OlderRows) -> None:
        if not (subscriber.subscribed and subscriber.rows):
            raise ProtocolError("rows are asked for after a subscription to rows")
        end = min(request.end_seq, self.history.log.end)
        if request.since_seq < end:
            subscriber.older = RowCursor(request.since_seq, end)

    # ---- to a monitor ----

    def _push(self, subscriber: Subscriber, now: float) -> None:
        """Send until the kernel takes no more, nothing is left, or others are due."""
        budget = _TURN
        while budget > 0 and not subscriber.blocked:
            if subscriber.sending is None:
                frame = subscriber.next_frame(self.history)
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
        writes = subscriber.sending is not None or budget <= 0
        reads = subscriber.closing or self._has_allowance(subscriber)
        self._watch(subscriber, selectors.EVENT_READ * reads | selectors.EVENT_WRITE * writes)


def _nothing() -> None:
    """The log is always up to date."""
