"""Discord's webhooks."""

from __future__ import annotations

from vlamon.alerts.channels.http import post_json
from vlamon.alerts.message import Message


class Discord:
    """The URL is the secret."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, message: Message) -> None:
        """Accepted with any 2xx. A run called @everyone notifies nobody."""
        document = {"content": message.text[:2000], "allowed_mentions": {"parse": []}}
        post_json(self._url, document)
