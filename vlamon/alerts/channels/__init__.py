"""One small file per channel, all behind `Channel`; `KINDS` names them and says what each needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from vlamon.alerts.channels.command import CommandLine
from vlamon.alerts.channels.dingtalk import DingTalk
from vlamon.alerts.channels.discord import Discord
from vlamon.alerts.channels.feishu import Feishu
from vlamon.alerts.channels.mail import Mail
from vlamon.alerts.channels.ntfy import Ntfy
from vlamon.alerts.channels.slack import Slack
from vlamon.alerts.channels.telegram import Telegram
from vlamon.alerts.channels.webhook import Webhook
from vlamon.alerts.channels.wecom import WeCom
from vlamon.alerts.message import Message


class Channel(Protocol):
    """Delivers one message, or raises `ChannelError` with the reason."""

    def send(self, message: Message) -> None:
        """Deliver; returns once the other side has accepted it."""


KINDS: Mapping[str, Callable[[Mapping[str, str]], Channel]] = {
    "command": lambda given: CommandLine(given["run"]),
    "dingtalk": lambda given: DingTalk(given["url"], given.get("secret", "")),
    "discord": lambda given: Discord(given["url"]),
    "feishu": lambda given: Feishu(given["url"], given.get("secret", "")),
    "mail": lambda given: Mail(
        given["url"], given["to"], given.get("from", ""), given.get("password", "")
    ),
    "ntfy": lambda given: Ntfy(given["url"], given.get("token", "")),
    "slack": lambda given: Slack(given["url"]),
    "telegram": lambda given: Telegram(given["token"], given["chat"], given.get("url", "")),
    "webhook": lambda given: Webhook(given["url"], given.get("token", "")),
    "wecom": lambda given: WeCom(given["url"]),
}
"""Channel by name, made from its settings; a missing one is a KeyError with its name."""
