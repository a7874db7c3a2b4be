"""Whatever happens to monitors, sockets and disks, the training computes what it computes alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import PATIENCE, Monitor, Training, monitor, wait_for
from vlamon.records import BatchBlock, Event, Gap
from vlamon.sources.journal import JournalSource

LONG = ("--steps", 4000, "--sleep", 0.001)
BOTH = ("--monitors", 2)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the training without vlamon."""
    return Training(tmp_path_factory.mktemp("alone") / "out", "--sleep", 0).digest()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "vla.sock")


def watch(path: str) -> tuple[str, ...]:
    return ("watch", "--json", "--socket", path)


def all_steps(count: int = 300) -> list[tuple[int, int]]:
    return [(0, step) for step in range(count)]


def test_a_killed_monitor_changes_nothing_for_the_training_and_the_others(
    tmp_path: Path, path: str, alone: str
) -> None:
    with monitor(*watch(path)) as victim, monitor(*watch(path)) as other:
        training = Training(tmp_path / "out", "--socket", path, *BOTH, "--hold-at", 150)
        wait_for(lambda: len(victim.steps()) > 20, "rows at the victim")
        os.kill(victim.process.pid, signal.SIGKILL)
        training.go_on()
        assert training.digest() == alone
        assert other.ended() == 0
        assert other.steps() == all_steps()


def test_a_stopped_monitor_holds_up_nothing_and_catches_up(
    tmp_path: Path, path: str, alone: str
) -> None:
    args = ("--socket", path, "--run-dir", tmp_path / "run")
    with monitor(*watch(path)) as stopped, monitor(*watch(path)) as other:
        training = Training(tmp_path / "out", *args, *BOTH, "--hold-at", 100)
        wait_for(lambda: len(stopped.steps()) > 20, "rows at the monitor")
        os.kill(stopped.process.pid, signal.SIGSTOP)
        training.go_on()
        wait_for(lambda: len(other.steps()) > 200, "the training going on")
        os.kill(stopped.process.pid, signal.SIGCONT)
        assert training.digest() == alone
        for each in (stopped, other):
            assert each.ended() == 0
            assert each.steps() == all_steps()
            assert "gap" not in each.kinds()


@pytest.fixture(scope="module")
def long_alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return Training(tmp_path_factory.mktemp("alone") / "out", *LONG[:2], "--sleep", 0).digest()


def test_a_monitor_that_is_stopped_for_good_costs_the_training_nothing(
    tmp_path: Path, path: str, long_alone: str
) -> None:
    with monitor(*watch(path)) as stopped, monitor(*watch(path)) as other:
        args = ("--socket", path, *BOTH, "--hold-at", 100)
        training = Training(tmp_path / "out", *args, *LONG)
        wait_for(lambda: len(stopped.steps()) > 20, "rows at the monitor")
        os.kill(stopped.process.pid, signal.SIGSTOP)
        training.go_on()
        assert training.digest() == long_alone  # more rows than the kernel holds for the stopped
        assert other.ended() == 0
        assert len(other.steps()) == 4000
        assert not os.path.exists(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs needs root and CAP_SYS_ADMIN")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def assert_survived_a_full_disk(run_dir: Path, other: Monitor, *warned: str) -> None:
    assert other.ended() == 0
    assert len(other.steps()) == 4000
    warnings = [line for line in other.lines if "journal" in str(line.get("text", ""))]
    assert len(warnings) == len(warned)
    for line, words in zip(warnings, warned, strict=True):
        assert words in line["text"]
    source = JournalSource(run_dir / "run.vlaj", follow=False)
    found = []
    while not source.finished:
        found += source.read(0.0)
    rows = [step for record in found if isinstance(record, BatchBlock) for step in record.step]
    assert 0 < len(rows) < 4000
    assert rows == list(range(len(rows)))
    assert not [record for record in found if isinstance(record, Gap)]


def test_a_full_disk_stops_the_journal_and_nothing_else(
    tmp_path: Path, path: str, small_disk: Path, long_alone: str
) -> None:
    with monitor(*watch(path)) as other:
        args = ("--socket", path, "--run-dir", small_disk, "--monitors", 1)
        training = Training(tmp_path / "out", *args, *LONG)
        assert training.digest() == long_alone
        assert_survived_a_full_disk(small_disk, other, "waits for room on its disk", "stopped")


def test_an_exceeded_quota_stops_the_journal_and_nothing_else(
    tmp_path: Path, path: str, long_alone: str
) -> None:
    run_dir = tmp_path / "run"
    with monitor(*watch(path)) as other:
        args = ("--socket", path, "--run-dir", run_dir, "--file-limit", 60_000)
        args += ("--monitors", 1)
        training = Training(tmp_path / "out", *args, *LONG)
        assert training.digest() == long_alone
        assert_survived_a_full_disk(run_dir, other, "stopped")


def test_a_trainer_that_is_killed_and_restarted_is_followed(
    tmp_path: Path, path: str, alone: str
) -> None:
    args = ("--socket", path, "--run-dir", tmp_path / "run", "--monitors", 1)
    with monitor(*watch(path)) as watching:
        first = Training(tmp_path / "out", *args, "--hold-at", 200)
        wait_for(lambda: len(watching.steps()) == 200, "rows of the first boot")
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        again = Training(tmp_path / "out", *args)
        assert again.digest() == alone
        assert watching.ended() == 0
        attempts = [[step for a, step in watching.steps() if a == attempt] for attempt in (0, 1)]
        assert attempts[1] == list(range(300))
        assert attempts[0] == list(range(len(attempts[0])))  # once each, though the boot died
        assert len(attempts[0]) == 200
    source = JournalSource(tmp_path / "run" / "run.vlaj", follow=False)
    ends = []
    while not source.finished:
        ends += [r for r in source.read(0.0) if isinstance(r, Event) and r.kind == "end"]
    assert len(ends) == 1


def test_of_two_trainers_on_one_path_one_trains_and_one_says_why_not(
    tmp_path: Path, path: str, alone: str
) -> None:
    args = ("--socket", path, "--hold-at", 10)
    two = [Training(tmp_path / f"out{n}", *args) for n in range(2)]
    wait_for(lambda: any(each.process.poll() is not None for each in two), "the loser's end")
    for each in two:
        each.go_on()
    said = [each.process.communicate(timeout=PATIENCE)[1] for each in two]
    codes = [each.process.returncode for each in two]
    winner = codes.index(0)
    assert codes[1 - winner] == 1
    assert f"served by process {two[winner].process.pid}" in said[1 - winner]
    assert two[winner].out.read_text() == alone


OTHER_USER = """
import os, sys
import vlamon.cli, vlamon.commands.watch, vlamon.commands.ctl, vlamon.commands.status
import vlamon.sources.monitored, vlamon.sources.socket, vlamon.views.plain_lines, numpy
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(vlamon.cli.run(sys.argv[1:]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("command", [("watch", "--plain"), ("status",), ("ctl",)])
def test_another_user_is_turned_away_with_a_sentence(
    tmp_path: Path, alone: str, command: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = folder + "/vla.sock"
        training = Training(tmp_path / "out", "--socket", path, "--hold-at", 10)
        wait_for(lambda: os.path.exists(path), "the socket")
        order = ("checkpoint",) if command == ("ctl",) else ()
        done = subprocess.run(
            [sys.executable, "-c", OTHER_USER, *command, "--socket", path, *order],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        training.go_on()
        assert done.returncode != 0
        assert "Permission denied" in done.stderr
        assert "Traceback" not in done.stderr
        assert training.digest() == alone
