"""Feishu and Lark: custom bots of a group, signed where the group asks for it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any

from vlamon.alerts.channels.http import accepted, post_json
from vlamon.alerts.message import Message


class Feishu:
    """`https://open.feishu.cn/open-apis/bot/v2/hook/…` or its Lark counterpart."""

    def __init__(self, url: str, secret: str = "") -> None:
        self._url = url
        self._secret = secret

    def send(self, message: Message) -> None:
        """Accepted where the answer's code is 0."""
        document: dict[str, Any] = {"msg_type": "text", "content": {"text": message.text}}
        if self._secret:
            stamp = str(int(time.time()))
            # Their signature has the secret in the key and signs nothing.
            digest = hmac.new(f"{stamp}\n{self._secret}".encode(), b"", hashlib.sha256).digest()
            document |= {"timestamp": stamp, "sign": base64.b64encode(digest).decode()}
        accepted(post_json(self._url, document), "code")
