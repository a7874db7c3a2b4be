"""A training tells people itself: no monitor, no watchdog, and no harm from a bad server."""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vlamon.alerts.servers import Http, http_server
from tests.vlamon.emitter.emitted import journal_of, of_type
from vlamon import Emitter
from vlamon.emitter import EmitterError, watching
from vlamon.emitter.alerting import command_line
from vlamon.records import Event
from vlamon.sources import SourceError


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Http]:
    """A webhook as the one channel, and a home of the test's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("VLAMON_ALERT", raising=False)
    with http_server() as running:
        monkeypatch.setenv("VLAMON_WEBHOOK_URL", running.url + "/hook")
        yield running


def kinds(server: Http) -> list[str]:
    return [document["kind"] for _, _, document in server.requests]


def warnings_of(run_dir: Path) -> list[str]:
    events = of_type(journal_of(run_dir), Event)
    return [event.text for event in events if event.kind == "warn"]


def await_warning(run_dir: Path, said: str) -> None:
    """Until the sidecar, which reports in its own time, has written a warning that says so."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(SourceError):  # nothing is flushed yet
            if any(said in text for text in warnings_of(run_dir)):
                return
        time.sleep(0.05)
    raise AssertionError(f"no warning says {said!r}")


def test_a_run_without_a_place_reports_its_events(server: Http) -> None:
    with Emitter(run="goal", alerts=True) as emitter:
        emitter.log(1, closs=2.0)
        emitter.event("explode", 1, text="closs 95", metric="closs", value=95.0)
        emitter.event("note", 1, text="lr halved")
        document = server.wait(1)[0]
    assert document["kind"] == "explosion"
    assert (document["run"], document["step"]) == ("goal", 1)
    assert document["data"] == {"metric": "closs", "value": 95.0}
    assert kinds(server) == ["explosion", "ended"]


def test_a_run_without_a_guard_is_judged_by_its_own_sidecar(server: Http, tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path / "run", alerts=True) as emitter:
        for step in range(300):
            emitter.log(step, closs=2.0 + 0.1 * math.sin(step))
        emitter.log(300, closs=95.0)
    assert "explosion" in kinds(server)
    assert "closs 95" in server.requests[0][2]["text"]


CALM = [2.0 + 0.1 * math.sin(step) for step in range(300)]


def write_thresholds(text: str) -> None:
    settings = Path(os.environ["XDG_CONFIG_HOME"]) / "vlamon" / "config.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(text)


@pytest.mark.parametrize(("one_ratio", "told"), [(10.0, True), (100.0, False)])
def test_a_training_judges_by_the_thresholds_of_the_settings(
    server: Http, tmp_path: Path, one_ratio: float, told: bool
) -> None:
    write_thresholds(f"thresholds = {{ one_ratio = {one_ratio}, sure_ratio = {one_ratio} }}\n")
    with Emitter(None, run_dir=tmp_path / "run", alerts=True, watch=True) as emitter:
        for step, closs in enumerate([*CALM, 60.0]):
            emitter.log(step, closs=closs)
    found = [event.kind for event in of_type(journal_of(tmp_path / "run"), Event)]
    assert ("explode" in found) == told
    assert ("explosion" in kinds(server)) == told


def test_a_mistake_in_the_thresholds_is_reported_and_the_shipped_ones_judge(
    server: Http, tmp_path: Path
) -> None:
    write_thresholds("thresholds = { one_ration = 100.0 }\nkeys = 3\n")
    with Emitter(None, run_dir=tmp_path / "run", watch=True) as emitter:
        for step, closs in enumerate([*CALM, 60.0]):
            emitter.log(step, closs=closs)
    (warning,) = warnings_of(tmp_path / "run")
    assert warning.endswith("the shipped thresholds judge")
    assert "one_ration" in warning
    found = [event.kind for event in of_type(journal_of(tmp_path / "run"), Event)]
    assert "explode" in found


def test_a_home_that_answers_nothing_holds_neither_training_nor_verdict(
    server: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = threading.Event(), threading.Event()

    def never(complain: Callable[[str], None]) -> None:
        asked.set()
        answered.wait(60)

    monkeypatch.setattr(watching, "rules_in_force", never)
    monkeypatch.setattr(watching, "SETTINGS_WITHIN", 0.1)
    with Emitter(None, run_dir=tmp_path / "run", watch=True) as emitter:
        for step, closs in enumerate([*CALM, 60.0]):
            emitter.log(step, closs=closs)
    answered.set()
    assert asked.is_set()
    found = [event.kind for event in of_type(journal_of(tmp_path / "run"), Event)]
    assert "explode" in found


def test_a_run_that_judges_itself_is_not_judged_twice(server: Http, tmp_path: Path) -> None:
    with Emitter(None, run_dir=tmp_path / "run", alerts=True) as emitter:
        emitter.status(guard="auto")
        for step in range(300):
            emitter.log(step, closs=2.0 + 0.1 * math.sin(step))
        emitter.log(300, closs=95.0)
        emitter.event("explode", 300, text="told by the guard")
    told = [document for _, _, document in server.requests if document["kind"] == "explosion"]
    assert [document["text"] for document in told] == ["told by the guard"]


def test_a_failure_is_reported(server: Http) -> None:
    with pytest.raises(RuntimeError), Emitter(run="goal", alerts=True):
        raise RuntimeError("out of memory")
    assert kinds(server) == ["failed", "failed"]
    assert "out of memory" in server.requests[0][2]["text"]


def test_the_environment_turns_alerts_on_and_an_argument_off() -> None:
    assert command_line(None, {}) is None
    assert command_line(None, {"VLAMON_ALERT": "1"}) == ""
    assert command_line(None, {"VLAMON_ALERT": "0"}) is None
    assert command_line(False, {"VLAMON_ALERT": "1"}) is None
    assert command_line("notify-me", {}) == "notify-me"
    with pytest.raises(EmitterError, match="alerts must be"):
        Emitter(alerts=3)  # type: ignore[arg-type]


def test_a_command_gets_the_alerts_too(
    server: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VLAMON_WEBHOOK_URL")
    with Emitter(run="goal", alerts=f"cat >> {tmp_path}/told") as emitter:
        emitter.event("explode", 1, text="closs 95")
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert [document["kind"] for document in told] == ["explosion", "ended"]


def test_of_several_ranks_only_the_first_calls(
    server: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with Emitter(None, run_dir=tmp_path / "{rank}", alerts=True) as emitter:
        emitter.event("explode", 1, text="closs 95")
    assert kinds(server) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [(None, "no channel"), ("[slak]\nurl = 'x'", "'slak'"), ("[ntfy", "is not TOML")],
)
def test_settings_with_a_mistake_are_one_warning_and_no_end(
    server: Http,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: str | None,
    said: str,
) -> None:
    monkeypatch.delenv("VLAMON_WEBHOOK_URL")
    if settings is not None:
        path = tmp_path / "alerts.toml"
        path.write_text(settings)
        path.chmod(0o600)
        monkeypatch.setenv("VLAMON_ALERTS", str(path))
    with Emitter(None, run_dir=tmp_path / "run", alerts=True) as emitter:
        emitter.event("explode", 1, text="closs 95")
        emitter.log(1, closs=1.0)
        await_warning(tmp_path / "run", said)
    warned = [text for text in warnings_of(tmp_path / "run") if "alert" in text]
    assert len(warned) == 1
    assert said in warned[0]
    assert said in capsys.readouterr().err


def test_a_channel_that_refuses_is_named_where_monitors_see_it(
    server: Http, tmp_path: Path
) -> None:
    server.code = 503
    with Emitter(None, run_dir=tmp_path / "run", alerts=True) as emitter:
        emitter.event("explode", 1, text="closs 95")
        server.wait(1)
        await_warning(tmp_path / "run", "webhook")
    assert any("webhook" in text and "503" in text for text in warnings_of(tmp_path / "run"))
    waiting = list((tmp_path / "state" / "vlamon" / "alerts").glob("*.json"))
    assert len(waiting) == 2, "the explosion and the end wait for the next process"
