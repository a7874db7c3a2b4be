"""The audit file and the lines on stderr: complete, and never what the training waits for."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from tests.vlamon.guard.toy import SPIKE, Order, Toy, far_off
from vlamon.guard import audit
from vlamon.guard.audit import Audit, BackgroundWriter


def lines(run_dir: Path) -> list[dict[str, object]]:
    return [json.loads(each) for each in (run_dir / "guard.jsonl").read_text().splitlines()]


def test_a_frozen_disk_does_not_stop_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thawed = threading.Event()
    real = audit._to_file

    def frozen(path: Path, text: str) -> None:
        thawed.wait()
        real(path, text)

    monkeypatch.setattr(audit, "_to_file", frozen)
    monkeypatch.setattr(audit, "GIVE_UP_AFTER", 0.05)
    toy = Toy(tmp_path, faults={4 * SPIKE: far_off})
    toy.run(260)
    assert toy.trained[-1] == 259
    assert not (tmp_path / "guard.jsonl").exists()
    thawed.set()
    toy.guard.reporter.audit.close()
    kinds = [line["kind"] for line in lines(tmp_path) if line["kind"] != "warn"]
    assert kinds == ["explode", "autopsy", "rollback", "recovered", "summary"]


def test_lines_keep_their_order_and_a_full_disk_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Audit(tmp_path)
    for number in range(500):
        kept.write("note", number, 0)
    kept.close()
    assert [line["step"] for line in lines(tmp_path)] == list(range(500))

    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(audit, "_to_file", full)
    toy = Toy(tmp_path, faults={4 * SPIKE: far_off})
    toy.run(220)
    told = [data["text"] for _, data in toy.emitter.kinds("note")]
    assert told == ["guard.jsonl loses lines: [Errno 28] No space left on device"]


def test_a_forked_child_writes_with_a_thread_of_its_own(tmp_path: Path) -> None:
    kept = Audit(tmp_path)
    kept.write("note", 1, 0)
    kept.close()
    pid = os.fork()
    if pid == 0:
        kept.write("note", 2, 0)
        kept.close()
        os._exit(0)
    os.waitpid(pid, 0)
    assert [line["step"] for line in lines(tmp_path)] == [1, 2]


def test_more_than_can_wait_is_counted() -> None:
    stuck, thread = threading.Event(), BackgroundWriter()
    thread.do(lambda: stuck.wait() and None)
    for _ in range(audit.WAITING + 5):
        thread.do(lambda: None)
    assert thread.lost == 6
    assert "wait for the disk" in thread.failure
    stuck.set()
    thread.drain()


def test_the_end_waits_for_a_slow_disk_and_not_for_one_that_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(audit, "GIVE_UP_AFTER", 5.0)
    slow, done = BackgroundWriter(), list[int]()

    def write(number: int) -> None:
        time.sleep(0.02)
        done.append(number)

    for number in range(8):
        slow.do(partial(write, number))
    slow.drain()
    assert done == list(range(8))
    monkeypatch.setattr(audit, "GIVE_UP_AFTER", 0.05)
    free, stuck = threading.Event(), BackgroundWriter()
    stuck.do(lambda: free.wait(30) and None)
    stuck.do(lambda: done.append(99))
    stuck.drain()
    assert done == list(range(8)), "it has given up"
    free.set()
    monkeypatch.setattr(audit, "GIVE_UP_AFTER", 5.0)
    stuck.drain()
    assert done[-1] == 99
    assert (slow.lost, stuck.lost) == (0, 0)


def test_an_unwatched_job_has_what_happened_in_its_own_output(
    capfd: pytest.CaptureFixture[str],
) -> None:
    toy = Toy(mode="ask", deadline=0.1, faults={4 * SPIKE: far_off})
    toy.run(300, {290: [Order("pause"), Order("resume")]})
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("vlamon: ")]
    kinds = [re.sub(r"vlamon: step \d+: ", "", line).split(":")[0] for line in said]
    assert kinds[:2] == ["explosion", "paused"]
    assert "rollback" in kinds
    assert sum(line.startswith(f"vlamon: step {SPIKE}: explosion: closs") for line in said) == 1


def test_a_line_holds_what_json_can_say() -> None:
    given = {
        "nan": math.nan, "above": math.inf, "below": -math.inf, "pair": (1.5, math.nan), 3: True,
        "none": None, "path": Path("a/b"), "inner": {"x": [math.inf]},
    }  # fmt: skip
    assert audit.finite(given) == {
        "nan": "nan", "above": "inf", "below": "-inf", "pair": [1.5, "nan"], "3": True,
        "none": None, "path": "a/b", "inner": {"x": ["inf"]},
    }  # fmt: skip


def test_a_line_for_people_goes_to_stderr_where_there_is_one(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    audit._to_stderr("vlamon: told")
    assert capfd.readouterr() == ("", "vlamon: told\n")
    monkeypatch.setattr(sys, "stderr", None)  # a process without a console
    audit._to_stderr("vlamon: told")
    assert capfd.readouterr() == ("", "")
