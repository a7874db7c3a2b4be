"""Commands of other processes on a real socket: `vlamon ctl` and `vlamon watch --auto-rollback`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = """
import sys, time
from vlamon import Emitter
from tests.vlamon.guard.toy import Toy
from vlamon.guard import GuardSettings

socket, mode, explode_at, monitors = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with Emitter(socket, run="toy", weights={"closs": 1.0}) as emitter:
    toy = Toy(mode=mode, faults={4 * explode_at: lambda toy, y: y + 200.0})
    guard, step = toy.guard, 0
    guard.reporter.emitter = emitter
    step = guard.start()
    while sum(each.subscribed for each in emitter._service.sidecar.server.subscribers) < monitors:
        time.sleep(0.01)
    # With monitors it ends a while after their rollback, without it is told to stop.
    after = 0
    while not guard.stopped and (not monitors or after < 50):
        after += emitter.attempt > 0
        assert step < 100_000
        batch, loss = toy.train_step()
        emitter.log(step, closs=loss)
        step = guard.after_step(step, batch=batch, samples=batch[0], closs=loss)
        time.sleep(0.004)
    guard.close()
print(emitter.attempt, step)
"""


@pytest.fixture
def training(tmp_path: Path):  # type: ignore[no-untyped-def]
    running: list[subprocess.Popen[str]] = []

    def start(mode: str, explode_at: int, monitors: int = 0) -> tuple[str, subprocess.Popen[str]]:
        socket = str(tmp_path / "toy.sock")
        arguments = [socket, mode, str(explode_at), str(monitors)]
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        while not os.path.exists(socket):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        return socket, process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def vlamon(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vlamon", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_ctl_rollback_answers_with_what_was_done(training) -> None:  # type: ignore[no-untyped-def]
    socket, process = training("auto", 10**6)
    for _ in range(40):  # a step must have passed before orders are served
        done = vlamon("ctl", "--socket", socket, "rollback")
        if "takes no commands" not in done.stderr:
            break
    assert done.returncode == 0, done.stderr
    assert "step" in done.stdout
    assert "seconds" in done.stdout
    stopped = vlamon("ctl", "--socket", socket, "stop")
    assert stopped.returncode == 0, stopped.stderr
    out, _ = process.communicate(timeout=300)
    assert int(out.split()[0]) >= 1


def test_a_monitor_rolls_back_a_training_that_does_not_look_itself(training) -> None:  # type: ignore[no-untyped-def]
    socket, process = training("off", 500, monitors=2)
    watchers = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "vlamon",
                "watch",
                "--plain",
                "--auto-rollback",
                "--socket",
                socket,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    out, errors = process.communicate(timeout=300)
    said = [watcher.communicate(timeout=300)[1] for watcher in watchers]
    assert out.split()[0] == "1", (out, errors, said)
    assert all("explosion at step 500" in text for text in said)
    assert any("rollback done" in text for text in said)
