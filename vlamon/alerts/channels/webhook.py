"""Any server of one's own: the alert as JSON, with a bearer token if there is one."""

from __future__ import annotations

from vlamon.alerts.channels.http import post_json
from vlamon.alerts.message import Message, document


class Webhook:
    """POSTs `{id, kind, urgency, run, host, step, time, text, command, data, title, body}`."""

    def __init__(self, url: str, token: str = "") -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def send(self, message: Message) -> None:
        """Accepted with any 2xx."""
        post_json(self._url, document(message), self._headers)
