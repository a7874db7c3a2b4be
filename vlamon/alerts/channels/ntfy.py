"""ntfy: https://ntfy.sh/TOPIC or a server of one's own."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from vlamon.alerts.channels.http import post_json
from vlamon.alerts.message import Message

PRIORITIES = {"high": 5, "normal": 3, "low": 2}


class Ntfy:
    """Publishes as JSON at the server's root: headers cannot carry a title in UTF-8."""

    def __init__(self, url: str, token: str = "") -> None:
        parts = urlsplit(url)
        path, _, self._topic = parts.path.rpartition("/")
        self._url = urlunsplit((parts.scheme, parts.netloc, path or "/", "", ""))
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def send(self, message: Message) -> None:
        """Accepted with any 2xx."""
        document = {
            "topic": self._topic,
            "title": message.title,
            "message": message.body,
            "priority": PRIORITIES[message.urgency],
        }
        post_json(self._url, document, self._headers)
