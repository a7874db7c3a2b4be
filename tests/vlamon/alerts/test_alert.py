"""Which events call, and in what words."""

from __future__ import annotations

import pytest

from tests.vlamon.alerts.alerts import alert
from vlamon.alerts.alert import of_event
from vlamon.alerts.message import message
from vlamon.records import Event, RunInfo

INFO = RunInfo("id", "libero_goal", "boot", "node17", 24913, source="/tmp/vla.sock")


def event(kind: str, severity: str = "info", text: str = "", **data: object) -> Event:
    return Event("boot-3", kind, 120, 0, 1_795_000_000.0, severity, text, data)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "kind", "urgency"),
    [
        (event("explode", "error"), "explosion", "high"),
        (event("rollback", "warn", ok=True), "rollback", "normal"),
        (event("rollback", "error", ok=False), "rollback", "high"),
        (event("paused", "warn", "explosion: waiting"), "waiting", "high"),
        (event("recovered"), "recovered", "low"),
        (event("trainer_error", "error"), "failed", "high"),
        (event("end"), "ended", "low"),
        (event("end", "error"), "failed", "high"),
    ],
)
def test_what_matters_calls_as_loudly_as_it_matters(told: Event, kind: str, urgency: str) -> None:
    made = of_event(told, INFO)
    assert made is not None
    assert (made.kind, made.urgency, made.step, made.run) == (kind, urgency, 120, "libero_goal")


@pytest.mark.parametrize(
    "told", [event("warn", "warn"), event("note"), event("checkpoint"), event("control"),
             event("paused", "warn", "paused by the operator")]
)  # fmt: skip
def test_what_a_person_did_or_need_not_know_sends_no_alert(told: Event) -> None:
    assert of_event(told, INFO) is None


def test_a_training_that_waits_says_what_answers_it() -> None:
    made = of_event(event("paused", "warn", "explosion: data; waiting for the operator"), INFO)
    assert made is not None
    assert "Answer with: vlamon ctl rollback --socket /tmp/vla.sock" in message(made).body


def test_both_languages_say_run_step_and_host() -> None:
    english, chinese = message(alert()), message(alert(), "zh")
    assert english.title == "libero_goal: loss exploded at step 39,210"
    assert chinese.title == "libero_goal：损失爆炸（第 39,210 步）"
    assert all("node17" in told.body and "95.2" in told.body for told in (english, chinese))


def test_what_was_held_back_is_counted_in_the_next_message() -> None:
    assert "(3 more messages" in message(alert(), held_back=3).body


def test_a_name_with_a_line_break_cannot_forge_a_line_or_a_header() -> None:
    told = message(alert(run="a\r\nBcc: x@y", text="one\x1b]0;x\x07\ntwo"))
    assert "\n" not in told.title
    assert "\r" not in told.text
    assert "\x1b" not in told.text
    assert len(told.body.splitlines()) == 2


def test_a_rank_that_is_gone_calls_although_it_is_only_a_warning() -> None:
    silent = Event("e", "warn", 4, 0, 1.7e9, "warn", "rank 3 is gone", {"finding": "silent"})
    told = of_event(silent, RunInfo("id", "goal", "boot"))
    assert told is not None
    assert (told.kind, told.urgency) == ("silent", "high")
    assert (
        of_event(Event("e", "warn", 4, 0, 1.7e9, "warn", "slow"), RunInfo("id", "goal", "b"))
        is None
    )
