"""Keeps secrets out of errors: a server may echo what it was sent, and a library quote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from vlamon.alerts.channels import Channel
from vlamon.alerts.channels.http import ChannelError, MessageRefused
from vlamon.alerts.message import Message

SECRET = ("url", "token", "secret", "password")
"""Fields of a channel that no error may show."""
MARK = "…"
LEAST = 6
"""Characters that a part of a URL must have to be a secret; shorter ones are words like `api`."""
LONGEST_REASON = 300
"""Characters of an error that are shown: a server may answer anything."""


class Redacted:
    """A channel whose errors show none of its secrets."""

    def __init__(self, channel: Channel, given: Mapping[str, str]) -> None:
        self._channel = channel
        self._secrets = sorted(set(_secrets(given)), key=len, reverse=True)

    def send(self, message: Message) -> None:
        """Deliver; ChannelError with the reason."""
        try:
            self._channel.send(message)
        except ChannelError as error:
            raise type(error)(self._redacted(str(error))) from None
        except Exception as error:
            # Its words may quote a secret in any form. The next message may well be sent.
            raise MessageRefused(f"it cannot be sent: {type(error).__name__}") from None

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MARK)
        return text[:LONGEST_REASON]


def _secrets(given: Mapping[str, str]) -> Iterator[str]:
    for field in SECRET:
        if field == "url":
            yield from (part for part in _parts(given.get(field, "")) if len(part) >= LEAST)
        elif given.get(field):
            yield given[field]


def _parts(url: str) -> Iterator[str]:
    """The URL, what follows its host, and each part of that, as written and as meant."""
    yield url
    try:
        split = urlsplit(url)
    except ValueError:
        return
    values = [value for _, value in parse_qsl(split.query)]
    found = [split.path, split.query, *split.path.split("/"), *values]
    found += filter(None, split.netloc.rpartition("@")[0].split(":"))
    for part in found:
        yield from (part, unquote(part))
