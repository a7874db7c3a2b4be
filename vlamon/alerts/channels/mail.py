"""Mail by SMTP: `smtp://user@host:587` (STARTTLS where offered) or `smtps://user@host:465`."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any
from urllib.parse import unquote, urlsplit

from vlamon.alerts.channels.deadline import Deadline
from vlamon.alerts.channels.http import TIMEOUT, ChannelError, MessageRefused
from vlamon.alerts.message import Message
from vlamon.moments import local_time

LONGEST_CONVERSATION = 1 << 20
"""Bytes that a server may say: `smtplib` keeps an answer's lines until the last one comes."""
Hold = Callable[[socket.socket], None]


class Mail:
    """One plain-text mail per message; the password is never part of the URL."""

    def __init__(self, url: str, to: str, sender: str = "", password: str = "") -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "smtps"
        self._host = parts.hostname or "localhost"
        self._port = parts.port or (465 if self._secure else 25)
        self._user = unquote(parts.username or "")
        self._password = password
        self._to = to
        self._sender = sender or f"vlamon@{socket.gethostname()}"

    def send(self, message: Message) -> None:
        """Accepted where the server takes it for every recipient."""
        mail = self._mail(message)
        with Deadline() as deadline:
            try:
                self._deliver(mail, deadline)
            except (smtplib.SMTPDataError, smtplib.SMTPRecipientsRefused) as error:
                raise MessageRefused(f"{self._host}:{self._port}: {_reason(error)}") from None
            except (OSError, smtplib.SMTPException) as error:
                late = f"not done within {deadline.seconds:g} s" if deadline.passed else ""
                raise ChannelError(f"{self._host}:{self._port}: {late or _reason(error)}") from None

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        # A line break in a run's name would begin another header.
        mail["Subject"] = " ".join(message.title.split())
        mail["From"] = self._sender
        mail["To"] = self._to
        sane = local_time(message.alert.time)
        mail["Date"] = formatdate(message.alert.time if sane else None)
        mail["Message-ID"] = make_msgid(domain="vlamon.invalid")
        mail.set_content(message.body)
        return mail

    def _deliver(self, mail: EmailMessage, deadline: Deadline) -> None:
        tls = self._context()
        with self._connected(deadline, tls) as server:
            server.ehlo()
            if not self._secure and server.has_extn("starttls"):
                server.starttls(context=tls)
            if self._user:
                self._log_in(server)
            server.send_message(mail)

    def _connected(self, deadline: Deadline, tls: ssl.SSLContext) -> smtplib.SMTP:
        if self._secure:
            return _SecureConversation(deadline.hold, self._host, self._port, tls)
        return _Conversation(deadline.hold, self._host, self._port)

    def _context(self) -> ssl.SSLContext:
        """Who gets a password must prove who it is; `smtplib` by itself asks nobody."""
        tls = ssl.create_default_context()
        if not self._user or self._host in _LOCAL:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        return tls

    def _log_in(self, server: smtplib.SMTP) -> None:
        if not self._secure and not _encrypted(server) and self._host not in _LOCAL:
            raise ChannelError(f"{self._host} offers no encryption: the password stays here")
        server.login(self._user, self._password)


class _Bounded:
    """What a server says, up to a number of bytes."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._left = LONGEST_CONVERSATION

    def readline(self, most: int) -> bytes:
        line: bytes = self._file.readline(most)
        self._left -= len(line)
        if self._left < 0:
            raise OSError("the server talks without an end")
        return line

    def close(self) -> None:
        self._file.close()


class _Conversation(smtplib.SMTP):
    """One that ends: its connection is held by a deadline, and what it hears is bounded."""

    def __init__(self, hold: Hold, host: str, port: int) -> None:
        self._hold = hold
        super().__init__(host, port, timeout=TIMEOUT)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        made: socket.socket = super()._get_socket(host, port, timeout)  # type: ignore[misc]
        self._hold(made)
        return made

    def getreply(self) -> tuple[int, bytes]:
        """The next answer."""
        if self.file is None and self.sock is not None:
            self.file = _Bounded(self.sock.makefile("rb"))
        return super().getreply()


class _SecureConversation(smtplib.SMTP_SSL, _Conversation):
    """The same over TLS from the start: `SMTP_SSL` wraps what the one above has connected."""

    def __init__(self, hold: Hold, host: str, port: int, tls: ssl.SSLContext) -> None:
        self._hold = hold
        smtplib.SMTP_SSL.__init__(self, host, port, timeout=TIMEOUT, context=tls)


_LOCAL = ("localhost", "127.0.0.1", "::1")


def _encrypted(server: smtplib.SMTP) -> bool:
    return hasattr(server.sock, "cipher")


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {error.smtp_error!r}"
    return str(error)
