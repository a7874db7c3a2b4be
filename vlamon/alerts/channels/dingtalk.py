"""DingTalk: custom robots of a group, signed where the group asks for it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from urllib.parse import quote_plus

from vlamon.alerts.channels.http import accepted, post_json
from vlamon.alerts.message import Message


class DingTalk:
    """`https://oapi.dingtalk.com/robot/send?access_token=…`."""

    def __init__(self, url: str, secret: str = "") -> None:
        self._url = url
        self._secret = secret

    def send(self, message: Message) -> None:
        """Accepted where the answer's errcode is 0."""
        url = self._url
        if self._secret:
            stamp = str(int(time.time() * 1000))
            signed = f"{stamp}\n{self._secret}".encode()
            digest = hmac.new(self._secret.encode(), signed, hashlib.sha256).digest()
            url += f"&timestamp={stamp}&sign={quote_plus(base64.b64encode(digest))}"
        document = {"msgtype": "text", "text": {"content": message.text}}
        accepted(post_json(url, document), "errcode")
