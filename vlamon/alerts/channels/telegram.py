"""Telegram's bots: a token from @BotFather and the id of a chat."""

from __future__ import annotations

from vlamon.alerts.channels.http import ChannelError, post_json
from vlamon.alerts.message import Message

SERVER = "https://api.telegram.org"


class Telegram:
    """Plain text, so that nothing of a run's name is markup."""

    def __init__(self, token: str, chat: str, server: str = "") -> None:
        self._url = f"{server or SERVER}/bot{token}/sendMessage"
        self._chat = chat

    def send(self, message: Message) -> None:
        """Accepted where the answer says ok."""
        quiet = message.urgency == "low"
        document = {"chat_id": self._chat, "text": message.text, "disable_notification": quiet}
        answer = post_json(self._url, document)
        if not isinstance(answer, dict) or answer.get("ok") is not True:
            raise ChannelError("the server refused it")
