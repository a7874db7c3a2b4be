"""Mail by SMTP: `smtp://user@host:587` (STARTTLS where offered) or `smtps://user@host:465`."""

from __future__ import annotations

import smtplib
import socket
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import unquote, urlsplit

from vlamon.alerts.channels.http import TIMEOUT, ChannelError
from vlamon.alerts.message import Message


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
        mail = EmailMessage()
        # A line break in a run's name would begin another header.
        mail["Subject"] = " ".join(message.title.split())
        mail["From"] = self._sender
        mail["To"] = self._to
        mail["Date"] = formatdate(message.alert.time)
        mail["Message-ID"] = make_msgid(domain="vlamon.invalid")
        mail.set_content(message.body)
        make = smtplib.SMTP_SSL if self._secure else smtplib.SMTP
        try:
            with make(self._host, self._port, timeout=TIMEOUT) as server:
                server.ehlo()
                if not self._secure and server.has_extn("starttls"):
                    server.starttls()
                if self._user:
                    self._log_in(server)
                server.send_message(mail)
        except (OSError, smtplib.SMTPException) as error:
            raise ChannelError(f"{self._host}:{self._port}: {_reason(error)}") from None

    def _log_in(self, server: smtplib.SMTP) -> None:
        if not self._secure and not _encrypted(server) and self._host not in _LOCAL:
            raise ChannelError(f"{self._host} offers no encryption: the password stays here")
        server.login(self._user, self._password)


_LOCAL = ("localhost", "127.0.0.1", "::1")


def _encrypted(server: smtplib.SMTP) -> bool:
    return hasattr(server.sock, "cipher")


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {error.smtp_error!r}"[:200]
    return str(error)[:200]
