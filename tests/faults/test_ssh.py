"""A training watched from another machine, through a real sshd."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import PATIENCE, Training, monitor, wait_for
from tests.faults.sshd import Ssh, missing, remote_vlamon, running
from vlamon.records import BatchBlock, Link, Record
from vlamon.sources import SourceError
from vlamon.sources.ssh import ssh_source
from vlamon.sources.stream import StreamSource

FIRST = ("--monitors", 1)
"""A training that waits for its monitor: over ssh that may come after many a step."""

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "there")


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ssh]:
    with running(tmp_path_factory.mktemp("sshd")) as made:
        yield made


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return Training(tmp_path_factory.mktemp("alone") / "out", "--sleep", 0).digest()


def read_to_the_end(source: StreamSource) -> None:
    """Read until the source gives up, for a while."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        source.read(0.2)


def watch_json(path: str) -> tuple[str, ...]:
    return ("watch", "--json", "--socket", path)


def test_a_forwarded_socket_carries_everything_and_commands_too(
    ssh: Ssh, tmp_path: Path, alone: str
) -> None:
    far, near = str(tmp_path / "far.sock"), str(tmp_path / "near.sock")
    forward = subprocess.Popen([*ssh.command("-N", "-L", f"{near}:{far}"), ssh.host])
    try:
        wait_for(lambda: os.path.exists(near), "the forwarded socket")
        with monitor(*watch_json(near)) as watching:
            time.sleep(0.5)  # it connects, though no trainer is at the far end yet
            assert watching.steps() == []
            training = Training(tmp_path / "out", "--socket", far, *FIRST, "--hold-at", 100)
            wait_for(lambda: len(watching.steps()) > 20, "rows through ssh")
            order = ("ctl", "--socket", near, "note", "through", "ssh")
            done = subprocess.run(
                [sys.executable, "-m", "vlamon", *order],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
            training.go_on()
            assert done.returncode == 0, done.stderr
            assert training.digest() == alone
            assert watching.ended() == 0
            assert watching.steps() == [(0, step) for step in range(300)]
            (told,) = [line for line in watching.lines if line.get("type") == "control"] or [
                line for line in watching.lines if "left a note" in str(line.get("text"))
            ]
            assert told["data"]["uid"] == os.geteuid()
    finally:
        forward.terminate()
        forward.wait(PATIENCE)


def test_watch_runs_in_a_terminal_at_the_far_end(ssh: Ssh, tmp_path: Path, alone: str) -> None:
    path = str(tmp_path / "vla.sock")
    training = Training(tmp_path / "out", "--socket", path, *FIRST)
    command = f"{remote_vlamon()} watch --plain --socket {path}"
    ours, theirs = pty.openpty()
    try:
        session = subprocess.Popen(
            [*ssh.command("-tt"), ssh.host, command], stdin=theirs, stdout=subprocess.PIPE
        )
        out, _ = session.communicate(timeout=PATIENCE)
    finally:
        os.close(ours)
        os.close(theirs)
    assert session.returncode == 0
    assert b"step 299" in out
    assert training.digest() == alone


def test_the_relay_brings_a_socket_here(
    ssh: Ssh, tmp_path: Path, alone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLAMON_REMOTE", f"{remote_vlamon()} relay")
    path = str(tmp_path / "vla.sock")
    training = Training(tmp_path / "out", "--socket", path, *FIRST)
    wait_for(lambda: os.path.exists(path), "the socket")
    source = ssh_source(ssh.host, path, ssh=ssh.command())
    found: list[Record] = []
    while not any(isinstance(record, Link) and record.state == "ended" for record in found):
        found += source.read(0.2)
    source.close()
    rows = [step for r in found if isinstance(r, BatchBlock) for step in r.step.tolist()]
    assert rows == list(range(300))
    assert training.digest() == alone


def test_a_relay_without_trainer_says_so_and_waits(
    ssh: Ssh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VLAMON_REMOTE", f"{remote_vlamon()} relay")
    source = ssh_source(ssh.host, str(tmp_path / "none.sock"), ssh=ssh.command())
    found: list[Record] = []
    while not any(isinstance(record, Link) and record.state == "waiting" for record in found):
        found += source.read(0.2)
    source.close()
    assert isinstance(found[-1], Link)
    assert "no training serves" in found[-1].text
    assert capfd.readouterr().err == ""  # the screen belongs to the dashboard


@pytest.mark.parametrize(
    ("remote", "sentence"), [("vlamon_is_not_here", "install vlamon there"), ("exit 7; ", "code 7")]
)
def test_a_far_end_without_vlamon_is_a_sentence(
    ssh: Ssh, monkeypatch: pytest.MonkeyPatch, remote: str, sentence: str
) -> None:
    monkeypatch.setenv("VLAMON_REMOTE", remote)
    source = ssh_source(ssh.host, "/tmp/none.sock", ssh=ssh.command())
    with pytest.raises(SourceError, match=sentence):
        read_to_the_end(source)
    source.close()


def test_a_host_that_cannot_be_reached_is_a_sentence(ssh: Ssh) -> None:
    source = ssh_source("127.0.0.1", "/tmp/none.sock", ssh=("ssh", "-F", "none", "-p", "1"))
    with pytest.raises(SourceError, match="refused"):
        read_to_the_end(source)
    source.close()


def test_the_relay_ends_when_its_reader_goes(tmp_path: Path, alone: str) -> None:
    path = str(tmp_path / "vla.sock")
    training = Training(tmp_path / "out", "--socket", path, "--hold-at", 10)
    wait_for(lambda: os.path.exists(path), "the socket")
    relay = subprocess.Popen(
        [sys.executable, "-m", "vlamon", "relay", "--socket", path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert relay.stdout is not None
    assert relay.stdout.read(20)
    relay.stdout.close()
    assert relay.stdin is not None
    relay.stdin.close()
    assert relay.wait(PATIENCE) == 0
    training.go_on()
    assert training.digest() == alone
