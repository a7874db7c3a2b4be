"""How an emitter ends: exits, crashes, forks and stuck disks lose nothing without a report."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.vlamon.emitter.emitted import journal_of, of_type, read_until, rows_of
from vlamon import Emitter
from vlamon.emitter import journal_feed, journal_writer, sidecar
from vlamon.records import (
    BatchBlock,
    EpochRow,
    Event,
    RunInfo,
)
from vlamon.sources.socket import socket_source


def test_without_a_socket_the_journal_has_everything(tmp_path: Path) -> None:
    with Emitter(None, run="goal", run_dir=tmp_path) as emitter:
        for step in range(100):
            emitter.log(step, closs=step / 3)
        emitter.log_epoch(0, "train", {"closs": 16.5}, step=99)
    found = journal_of(tmp_path)
    blocks = of_type(found, BatchBlock)
    assert [v for b in blocks for v in b.columns["closs"].values.tolist()] == [
        step / 3 for step in range(100)
    ]
    assert of_type(found, EpochRow)[0].split == "train"
    assert of_type(found, Event)[-1].kind == "end"


def test_a_flood_before_the_end_is_in_the_journal_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sidecar, "_BATCH", 200)  # as if the sidecar were slow: 2.5 s for all
    with Emitter(None, run_dir=tmp_path) as emitter:
        for step in range(100_000):
            emitter.log(step, closs=0.5)
    blocks = of_type(journal_of(tmp_path), BatchBlock)
    assert sum(block.rows for block in blocks) == 100_000
    assert emitter.swallowed == 0


def test_a_slow_disk_is_waited_for_as_long_as_it_takes_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, pieces = os.pwrite, []

    def slow(descriptor: int, data: bytes, at: int) -> int:
        time.sleep(0.02)
        pieces.append(at)
        return real(descriptor, bytes(data[:6000]), at)

    with Emitter(None, run_dir=tmp_path) as emitter:
        monkeypatch.setattr(journal_writer.os, "pwrite", slow)
        for step in range(40_000):
            emitter.log(step, closs=step / 3)
    assert len(rows_of(journal_of(tmp_path))) == 40_000
    assert len(pieces) > 100


def test_a_stuck_disk_ends_the_wait_and_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    released = threading.Event()

    def stuck(descriptor: int, data: bytes, at: int) -> int:
        released.wait()
        return len(data)

    path = tmp_path / "vla.sock"
    emitter = Emitter(path, run_dir=tmp_path / "run")
    monkeypatch.setattr(journal_writer.os, "pwrite", stuck)
    monkeypatch.setattr(journal_feed, "STUCK", 0.3)
    source = socket_source(path)
    found = read_until(source, RunInfo)
    emitter.log(7, closs=1.0)
    closing = threading.Thread(target=emitter.close)
    closing.start()
    while source._link is None or source._link.state != "ended":
        found += source.read(0.1)
    closing.join(60.0)
    released.set()
    assert not closing.is_alive()
    assert any("took nothing for 0.3 s" in event.text for event in of_type(found, Event))
    told = capsys.readouterr().err
    assert "took nothing for 0.3 s" in told
    assert "the last 1 rows are not in it" in told


def test_nothing_raises_after_the_end(tmp_path: Path) -> None:
    emitter = Emitter(tmp_path / "vla.sock", run_dir=tmp_path / "run")
    emitter.close()
    emitter.log(1, closs=1.0)
    assert emitter.swallowed_by_reason == {"the emitter is closed": 1}
    emitter.event("note")
    emitter.status(state="training")
    emitter.close()
    assert list(emitter.commands()) == []
    assert of_type(journal_of(tmp_path / "run"), BatchBlock) == []


def test_an_exception_in_the_training_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Emitter(None, run_dir=tmp_path) as emitter:
        emitter.log(1, closs=1 / 0)
    events = of_type(journal_of(tmp_path), Event)
    assert [event.kind for event in events] == ["trainer_error", "end"]
    assert "ZeroDivisionError" in events[0].text


def run_script(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True, timeout=300
    )


def test_a_script_that_never_closes_still_ends_well(tmp_path: Path) -> None:
    code = (
        "import sys; from vlamon import Emitter\n"
        "emitter = Emitter(sys.argv[1] + '/s', run_dir=sys.argv[1])\n"
        "for step in range(50): emitter.log(step, closs=1.0)\n"
    )
    assert run_script(code, tmp_path).returncode == 0
    found = journal_of(tmp_path)
    assert sum(block.rows for block in of_type(found, BatchBlock)) == 50
    assert of_type(found, Event)[-1].kind == "end"
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("ends", "code", "text"),
    [
        ("sys.exit(1)", 1, "exit code 1"),
        ("sys.exit('loss is nan')", 1, "exit code 1"),
        ("with emitter: sys.exit(3)", 3, "exit code 3"),
        ("sys.exit(0)", 0, "the training ended"),
        ("with emitter: sys.exit()", 0, "the training ended"),
    ],
)
def test_a_script_that_ends_itself_is_reported_with_its_exit_code(
    tmp_path: Path, ends: str, code: int, text: str
) -> None:
    script = (
        "import sys; from vlamon import Emitter\n"
        "emitter = Emitter(None, run_dir=sys.argv[1])\n"
        f"emitter.log(1, closs=float('nan'))\n{ends}\n"
    )
    assert run_script(script, tmp_path).returncode == code
    end = of_type(journal_of(tmp_path), Event)[-1]
    assert text in end.text
    assert end.severity == ("error" if code else "info")


FORK = """
import os, signal, sys, time
from vlamon import Emitter
from vlamon.sources.socket import socket_source
emitter = Emitter(sys.argv[1] + '/s', run_dir=sys.argv[1])
emitter.log(0, closs=1.0)
child = os.fork()
if child == 0:
    os.close(1), os.close(2)
    emitter.log(77, closs=1.0)     # a DataLoader worker that inherits everything
    emitter.event('note', text='from the child')
    emitter.close()
    time.sleep(100)
    os._exit(0)
emitter.log(1, closs=1.0)
print(child, flush=True)
if sys.argv[2] == 'kill':
    while emitter._service.sidecar.journal.journal.flushed_seq < 2:  # both rows are on disk
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
assert os.path.exists(sys.argv[1] + '/s')
emitter.close()
os.kill(child, signal.SIGKILL)
"""


def test_a_script_that_crashes_says_so_at_the_end(tmp_path: Path) -> None:
    code = (
        "import sys; from vlamon import Emitter\n"
        "emitter = Emitter(None, run_dir=sys.argv[1])\n"
        "emitter.log(1, closs=1.0)\n"
        "raise RuntimeError('out of luck')\n"
    )
    assert run_script(code, tmp_path).returncode == 1
    assert "RuntimeError" in of_type(journal_of(tmp_path), Event)[-1].text


def test_a_forked_worker_owns_nothing(tmp_path: Path) -> None:
    done = run_script(FORK, tmp_path, "close")
    assert done.returncode == 0, done.stderr
    found = journal_of(tmp_path)
    assert [s for b in of_type(found, BatchBlock) for s in b.step.tolist()] == [0, 1]
    assert [event.kind for event in of_type(found, Event)] == ["end"]


def test_a_worker_that_outlives_a_killed_trainer_does_not_hold_its_path(tmp_path: Path) -> None:
    done = run_script(FORK, tmp_path, "kill")
    worker = int(done.stdout)
    try:
        assert done.returncode == -9
        with Emitter(tmp_path / "s", run_dir=tmp_path) as emitter:
            assert emitter.attempt == 1
            emitter.log(2, closs=1.0)
    finally:
        os.kill(worker, 9)
    found = journal_of(tmp_path)
    assert [s for b in of_type(found, BatchBlock) for s in b.step.tolist()] == [0, 1, 2]
