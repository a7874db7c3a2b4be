"""Alerts in words: a title for a lock screen and a body, in English or Chinese. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from vlamon.alerts.alert import Alert, Urgency
from vlamon.moments import local_time
from vlamon.safe_text import line

LANGUAGES = ("en", "zh")
LONGEST = 1500
"""Characters of a body: every channel takes that many."""

_TITLES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "explosion": "{run}: loss exploded{at}",
        "rollback": "{run}: rolled back{at}",
        "waiting": "{run}: waits for you{at}",
        "recovered": "{run}: recovered{at}",
        "failed": "{run}: failed{at}",
        "ended": "{run}: ended{at}",
        "silent": "{run}: no batch any more{at}",
        "gone": "{run}: the training process is gone{at}",
        "test": "{run}: test message",
    },
    "zh": {
        "explosion": "{run}：损失爆炸{at}",
        "rollback": "{run}：已回滚{at}",
        "waiting": "{run}：等待人工处理{at}",
        "recovered": "{run}：已恢复{at}",
        "failed": "{run}：训练失败{at}",
        "ended": "{run}：训练结束{at}",
        "silent": "{run}：不再产生批次{at}",
        "gone": "{run}：训练进程已消失{at}",
        "test": "{run}：测试消息",
    },
}
_AT = {"en": " at step {step:,}", "zh": "（第 {step:,} 步）"}
_WHERE = {"en": "on {host}, {when}", "zh": "主机 {host}，{when}"}
_ANSWER = {"en": "Answer with: {command}", "zh": "用此命令处理：{command}"}
_MORE = {
    "en": "({count} more messages of this run were held back in the meantime)",
    "zh": "（期间另有 {count} 条消息被合并）",
}


@dataclass(frozen=True, slots=True)
class Message:
    """What a channel sends."""

    id: str
    title: str
    body: str
    urgency: Urgency
    alert: Alert
    """The same as data, for programs."""

    @property
    def text(self) -> str:
        """Title and body in one, for channels that have no title."""
        return f"{self.title}\n{self.body}"


def document(message: Message) -> dict[str, Any]:
    """What programs get: the alert, and the words that people get."""
    return {**asdict(message.alert), "title": message.title, "body": message.body}


def message(alert: Alert, language: str = "en", held_back: int = 0) -> Message:
    """The alert in words; `held_back` counts those that the rate limit merged into this one."""
    at = "" if alert.step is None else _AT[language].format(step=alert.step)
    title = _TITLES[language][alert.kind].format(run=alert.run or "vlamon", at=at)
    when = local_time(alert.time, "%Y-%m-%d %H:%M:%S %z") or "?"
    lines = [alert.text, _WHERE[language].format(host=alert.host, when=when)]
    if alert.command:
        lines.insert(1, _ANSWER[language].format(command=alert.command))
    if held_back:
        lines.append(_MORE[language].format(count=held_back))
    # Run names and texts come from the training: on a phone they stay one plain line each.
    body = "\n".join(line(part) for part in lines if part)
    return Message(alert.id, line(title), body[:LONGEST], alert.urgency, alert)
