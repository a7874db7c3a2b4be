"""Alerts for tests."""

from __future__ import annotations

from typing import Any

from vlamon.alerts.alert import Alert


def alert(number: int = 0, **given: Any) -> Alert:
    fields: dict[str, Any] = {
        "id": f"boot-{number}",
        "kind": "explosion",
        "urgency": "high",
        "run": "libero_goal",
        "host": "node17",
        "step": 39_210,
        "time": 1_795_000_000.0 + number,
        "text": "closs 95.2: 11× the median",
        "data": {"metric": "closs", "value": 95.2},
        **given,
    }
    return Alert(**fields)
