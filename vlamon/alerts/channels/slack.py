"""Slack's incoming webhooks."""

from __future__ import annotations

from vlamon.alerts.channels.http import post_json
from vlamon.alerts.message import Message


class Slack:
    """The URL is the secret."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, message: Message) -> None:
        """Accepted with any 2xx; Slack answers 4xx to what it refuses."""
        # In Slack's text these three characters begin markup and mentions.
        text = message.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        post_json(self._url, {"text": text})
