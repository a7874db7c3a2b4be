"""`vlamon` alone says what can be watched from here, and how."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.commands.training import environment, training
from vlamon.cli import run
from vlamon.commands.last_run import recall, remember
from vlamon.commands.look_around import offers
from vlamon.protocol import registry
from vlamon.protocol.registry import RunEntry
from vlamon.sources import discovery

FIXTURES = Path(__file__).parents[2] / "fixtures"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and nothing of this machine's user."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.delenv("VLAMON_SOCKET", raising=False)
    monkeypatch.delenv("VLAMON_HOME", raising=False)
    monkeypatch.setattr(discovery, "TEMPORARY", str(tmp_path / "none" / "*.sock"))
    place = tmp_path / "here"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def commands() -> list[str]:
    return [" ".join(offer.arguments) for offer in offers()]


def log(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f'{{"train_closs": 8.5, "epoch": {e}}}\n' for e in range(9)))
    return path


def test_with_nothing_around_there_is_the_demo() -> None:
    assert commands() == ["demo"]


def test_a_log_is_offered_however_its_program_wrapped_it_and_late_its_first_row_comes(
    here: Path,
) -> None:
    rows = "".join(f"step: {step}  loss: {9 - step / 10:.4f}  lr: 1e-4\n" for step in range(20))
    coloured = "".join(f"[rank0]:\x1b[36m{row.rstrip()}\x1b[0m\n" for row in rows.splitlines())
    (here / "windows.log").write_bytes(rows.encode("utf-16"))
    (here / "late.log").write_text("[rank0]:INFO - loading a shard of the data\n" * 4000 + coloured)
    (here / "notes.txt").write_text("the lr was too high, try 1e-4\n" * 4000)
    assert sorted(commands()[:-1]) == ["tail late.log", "tail windows.log"]


def test_a_training_that_runs_here_is_offered_first(tmp_path: Path) -> None:
    (tmp_path / "run" / "vlamon").mkdir(parents=True)
    with training(tmp_path / "run" / "vlamon" / "a.sock", run_dir=tmp_path / "r"):
        first = next(offers())
    newest = next(offer for offer in offers() if offer.group == "Over")

    assert first.group == "Running"
    assert first.text.startswith("demo")
    assert newest.arguments == ("watch", str(tmp_path / "r" / "run.vlaj"))
    assert first.arguments == ("watch", "--socket", str(tmp_path / "run" / "vlamon" / "a.sock"))


def test_runs_and_logs_of_the_directory_are_offered_newest_first(here: Path) -> None:
    (here / "runs" / "one").mkdir(parents=True)
    (here / "runs" / "one" / "run.vlaj").write_bytes(b"VLAJ")
    log(here / "two" / "log_train.txt")
    log(here / "mine.jsonl")
    (here / "notes.txt").write_text("Dear diary,\n")
    for age, path in enumerate(("mine.jsonl", "two/log_train.txt", "runs/one/run.vlaj")):
        os.utime(here / path, (1e9 - age, 1e9 - age))

    assert commands() == ["tail mine.jsonl", "tail two", "watch runs/one", "demo"]
    texts = [offer.text.partition(" (")[0] for offer in offers()]
    assert texts[:3] == ["mine.jsonl", "log_train.txt", "one"]


def test_a_runs_own_directory_is_one_offer(here: Path) -> None:
    log(here / "log_train.txt")
    log(here / "log_eval_ind.txt")

    assert commands() == ["tail .", "demo"]


def test_the_run_that_was_opened_last_is_offered_again(tmp_path: Path, capsys: Any) -> None:
    path = log(tmp_path / "elsewhere" / "log_train.txt")
    assert run(["tail", str(path), "--once"]) == 0

    assert commands() == [f"tail {path}", "demo"]
    path.unlink()
    assert commands() == ["demo"]


def test_a_run_that_is_over_is_offered_once(here: Path, tmp_path: Path) -> None:
    journal = here / "runs" / "a" / "run.vlaj"
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b"VLAJ")
    ended = time.time()
    alive = RunEntry(
        "b", "a", socket.gethostname(), os.getpid(), updated=ended, journal=str(journal)
    )
    registry.write(alive, registry.directory())
    assert commands() == [f"watch {journal}", "demo"], "running, and not in this directory as well"
    over = RunEntry("b", "a", updated=ended, ended=ended, journal=str(journal))
    registry.write(over, registry.directory())
    assert commands() == ["watch runs/a", "demo"]
    os.chdir(tmp_path)
    assert commands() == [f"watch {journal}", "demo"]


def test_what_was_opened_last_is_not_offered_twice_nor_where_it_is_no_log(
    here: Path, tmp_path: Path, capsys: Any
) -> None:
    assert run(["tail", str(log(here / "mine.jsonl")), "--once"]) == 0
    assert commands() == ["tail mine.jsonl", "demo"]
    (tmp_path / "diary.txt").write_text("Dear diary,\n")
    assert run(["tail", str(tmp_path / "diary.txt"), "--once"]) == 2
    assert commands() == ["tail mine.jsonl", "demo"]


def test_with_nothing_around_the_ways_in_are_named(capsys: Any) -> None:
    assert run([]) == 0
    out = capsys.readouterr().out
    assert "vlamon tail FILE" in out
    assert "vlamon run -- python train.py" in out


def test_an_unwritable_state_directory_keeps_no_run_from_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))

    remember("tail", [str(log(tmp_path / "log_train.txt"))])
    assert recall() == []


def test_what_is_remembered_and_damaged_is_nothing(tmp_path: Path) -> None:
    path = log(tmp_path / "log_train.txt")
    remember("tail", [str(path)])
    kept = tmp_path / "state" / "vlamon" / "last-run.json"
    for text in ("", "{", "5", '["tail"]', '["tail", 5]'):
        kept.write_text(text)
        assert recall() == []


def test_without_a_terminal_the_list_is_printed(here: Path, capsys: Any) -> None:
    log(here / "log_train.txt")

    assert run([]) == 0
    out = capsys.readouterr().out
    assert "vlamon tail ." in out
    assert "vlamon --help" in out


def test_on_a_terminal_a_number_does_it(here: Path) -> None:
    log(here / "log_train.txt")
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "vlamon"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=here,
        env=environment(TERM="dumb", XDG_STATE_HOME=str(here)),
        start_new_session=True,
    )
    os.close(slave)
    said = b""
    while b"q to quit" not in said:
        said += os.read(master, 4096)
    os.write(master, b"q\n")

    assert process.wait(60) == 0
    os.close(master)
    assert b"vlamon tail ." in said


def test_a_log_in_a_directory_of_logs_is_offered_but_not_a_runs_own(here: Path) -> None:
    for path in ("logs/mine.jsonl", "elsewhere/mine.jsonl", "output/mine.jsonl"):
        log(here / path)
    log(here / "output" / "log_train.txt")

    assert sorted(commands()) == ["demo", "tail logs/mine.jsonl", "tail output"]
