"""WeCom (企业微信): robots of a group."""

from __future__ import annotations

from vlamon.alerts.channels.http import accepted, post_json
from vlamon.alerts.message import Message


class WeCom:
    """`https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, message: Message) -> None:
        """Accepted where the answer's errcode is 0."""
        document = {"msgtype": "text", "text": {"content": message.text}}
        accepted(post_json(self._url, document), "errcode")
