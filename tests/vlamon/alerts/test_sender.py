"""Nothing is lost while a channel is away, nothing is told twice, nobody is flooded."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from tests.vlamon.alerts.alerts import alert
from vlamon.alerts import delivery as delivery_module
from vlamon.alerts.channels.http import ChannelError
from vlamon.alerts.message import Message, message
from vlamon.alerts.outbox import KEPT, Outbox
from vlamon.alerts.rate import RateLimit
from vlamon.alerts.sender import AlertSender


class Recorder:
    """A channel that remembers, and that refuses while it is `away`."""

    def __init__(self, away: bool = False) -> None:
        self.away = away
        self.tries = 0
        self.taken: list[Message] = []
        self.changed = threading.Event()

    def send(self, told: Message) -> None:
        self.tries += 1
        self.changed.set()
        if self.away:
            raise ChannelError("away")
        self.taken.append(told)

    def wait_for(self, count: int) -> list[str]:
        end = time.monotonic() + 30
        while len(self.taken) < count and time.monotonic() < end:
            time.sleep(0.01)
        return [told.id for told in self.taken]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "FIRST_RETRY", 0.05)


def test_an_alert_is_sent_once_to_each_channel(tmp_path: Path) -> None:
    first, second = Recorder(), Recorder()
    sender = AlertSender({"a": first, "b": second}, tmp_path)
    for _ in range(3):
        sender.put(alert(1))
    sender.put(alert(2))
    sender.close()
    assert [told.id for told in first.taken] == ["boot-1", "boot-2"]
    assert [told.id for told in second.taken] == ["boot-1", "boot-2"]
    assert list(tmp_path.iterdir()) == []


def test_what_a_channel_does_not_take_waits_and_comes_in_order(tmp_path: Path) -> None:
    complaints: list[str] = []
    channel = Recorder(away=True)
    sender = AlertSender({"slack": channel}, tmp_path, complain=complaints.append)
    for number in range(3):
        sender.put(alert(number))
    channel.changed.wait(30)
    channel.away = False
    assert channel.wait_for(3) == ["boot-0", "boot-1", "boot-2"]
    sender.close()
    assert len(complaints) == 1
    assert "slack" in complaints[0]


def test_a_later_process_sends_what_an_earlier_one_could_not(tmp_path: Path) -> None:
    gone = AlertSender({"slack": Recorder(away=True)}, tmp_path)
    gone.put(alert(7))
    gone.close()
    channel = Recorder()
    later = AlertSender({"slack": channel}, tmp_path)
    assert channel.wait_for(1) == ["boot-7"]
    later.close()
    assert channel.taken[0] == message(alert(7))


def test_what_another_run_is_sending_is_not_sent_twice(tmp_path: Path) -> None:
    sending, release = threading.Event(), threading.Event()
    taken: list[str] = []

    class Slow:
        def send(self, told: Message) -> None:
            sending.set()
            release.wait(60)
            taken.append(told.id)

    first = AlertSender({"slack": Slow()}, tmp_path)
    first.put(alert(1))
    assert sending.wait(30)
    channel = Recorder()
    second = AlertSender({"slack": channel}, tmp_path)  # another training of the same user
    second.put(alert(2))
    time.sleep(0.3)
    assert channel.tries == 0
    release.set()
    first.close()
    second.close()
    assert sorted([*taken, *(told.id for told in channel.taken)]) == ["boot-1", "boot-2"]


def test_a_channel_that_is_away_does_not_hold_up_another(tmp_path: Path) -> None:
    away, well = Recorder(away=True), Recorder()
    sender = AlertSender({"away": away, "well": well}, tmp_path)
    for number in range(5):
        sender.put(alert(number))
    assert len(well.wait_for(5)) == 5
    sender.close()


def test_putting_never_waits_for_a_channel_that_hangs(tmp_path: Path) -> None:
    release = threading.Event()

    class Hangs:
        def send(self, told: Message) -> None:
            release.wait(60)

    well = Recorder()
    sender = AlertSender({"hangs": Hangs(), "well": well}, tmp_path)
    sender.put(alert(0))
    assert well.wait_for(1) == ["boot-0"], "the other channel is not held up"
    putter = threading.Thread(target=lambda: [sender.put(alert(n)) for n in range(2000)])
    putter.start()
    putter.join(10)
    assert not putter.is_alive()
    release.set()
    sender.close()


def test_a_disk_that_takes_nothing_costs_the_queue_and_not_the_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    channel, complaints = Recorder(), []
    sender = AlertSender({"slack": channel}, tmp_path / "file" / "box", complain=complaints.append)
    sender.put(alert(1))
    assert channel.wait_for(1) == ["boot-1"]
    sender.close()
    assert "the disk keeps no alerts" in complaints[0]


def test_a_file_that_is_no_message_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000001-1-000001.json").write_text("{")
    channel = Recorder()
    sender = AlertSender({"slack": channel}, tmp_path)
    sender.put(alert(1))
    assert channel.wait_for(1) == ["boot-1"]
    sender.close()
    assert [path.suffix for path in tmp_path.iterdir()] == [".unreadable"]


def test_the_outbox_is_bounded_and_keeps_what_is_urgent(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    box.put("slack", message(alert(0)))
    for number in range(1, KEPT + 20):
        box.put("slack", message(alert(number, urgency="low", kind="ended")))
    waiting = [found.message.id for found in box.waiting()]
    assert len(waiting) == KEPT
    assert waiting[0] == "boot-0"
    assert oct((next(tmp_path.iterdir())).stat().st_mode & 0o777) == "0o600"


def test_a_run_calls_a_bounded_number_of_times_an_hour_and_says_what_it_held_back() -> None:
    limit = RateLimit(hourly=3)
    passed = [limit.passes(alert(n, kind="rollback", urgency="normal"), 10.0 * n) for n in range(9)]
    assert passed == [True] * 3 + [False] * 6
    assert limit.passes(alert(100), 95.0), "the first explosion of the hour always passes"
    assert limit.take_held_back() == 6
    assert limit.passes(alert(200, kind="rollback", urgency="normal"), 4000.0)
