"""Commands to a real training, sent with `vlamon ctl` and executed between two steps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.trainings import SMALL

TRAINER = (sys.executable, "-m", "trainer", "--preset", "micro", "--steps", "1000000")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def takes_orders(path: Path) -> bool:
    """Whether a training serves the socket and has come to its first step boundary."""
    done = subprocess.run(
        [sys.executable, "-m", "vlamon", "status", "--json", "--socket", str(path)],
        capture_output=True,
        text=True,
        timeout=300,
        env=ENVIRONMENT,
        check=False,
    )
    return done.returncode == 0 and bool(json.loads(done.stdout)["run"]["control"])


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The socket of a training that would go on for ever."""
    folder = tmp_path_factory.mktemp("orders")
    path = folder / "vla.sock"
    settings = [part for override in SMALL for part in ("--set", override)]
    process = subprocess.Popen(
        [*TRAINER, *settings, "--socket", str(path), "--run-dir", str(folder / "run")],
        stdout=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    deadline = time.monotonic() + 120
    while not takes_orders(path):
        assert process.poll() is None
        assert time.monotonic() < deadline, "the training came to no step boundary"
        time.sleep(0.1)
    yield path
    process.kill()
    process.wait()


def ctl(socket: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vlamon", "ctl", *arguments, "--socket", str(socket)],
        capture_output=True,
        text=True,
        timeout=300,
        env=ENVIRONMENT,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "clip_grad", "2.5"),
        ("set", "loss_ct_weight", "4"),
        ("set", "lr_scale", "0.5"),
        ("set", "guard", "watch"),
        ("note", "half the rate"),
        ("checkpoint",),
        ("pause",),
        ("resume",),
    ],
    ids=" ".join,
)
def test_a_command_is_executed_and_answered(socket: Path, arguments: tuple[str, ...]) -> None:
    done = ctl(socket, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_setting_that_there_is_not_is_refused_with_those_that_there_are(socket: Path) -> None:
    done = ctl(socket, "set", "lamda", "1")
    assert done.returncode != 0
    assert "loss_ct_weight" in done.stdout + done.stderr


def test_stop_ends_the_training_with_a_checkpoint(socket: Path) -> None:
    assert ctl(socket, "stop").returncode == 0
    latest = socket.parent / "run" / "checkpoints" / "latest"
    deadline = time.monotonic() + 120
    while not latest.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert latest.is_file()
    assert json.loads((socket.parent / "run" / "run.json").read_text())["seed"] == 0


def test_sigterm_ends_a_paused_training_with_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "vla.sock"
    settings = [part for override in SMALL for part in ("--set", override)]
    process = subprocess.Popen(
        [*TRAINER, *settings, "--socket", str(path), "--run-dir", str(tmp_path / "run")],
        stdout=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    try:
        deadline = time.monotonic() + 120
        while not takes_orders(path):
            assert process.poll() is None
            assert time.monotonic() < deadline, "the training came to no step boundary"
            time.sleep(0.1)
        assert ctl(path, "pause").returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0
    finally:
        process.kill()
        process.wait()
    assert (tmp_path / "run" / "checkpoints" / "latest").is_file()
