"""`vlamon alert` and `vlamon watchdog` as they are typed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from shutil import copytree

from tests.vlamon.alerts.servers import http_server

TRAINING = """
import sys, time
from vlamon import Emitter
emitter = Emitter(sys.argv[1], run="goal")
for step in range(100000):
    emitter.log(step, closs=1.0)
    if step == 20: print("going", flush=True)
    time.sleep(0.01)
"""


def vlamon(tmp_path: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vlamon", *args],
        capture_output=True, text=True, timeout=90,
        env={**os.environ, "VLAMON_ALERTS": str(tmp_path / "alerts.toml"),
             "XDG_STATE_HOME": str(tmp_path / "state"), **env},
    )  # fmt: skip


def test_a_test_message_says_which_channel_took_it(tmp_path: Path) -> None:
    with http_server() as server:
        hook = {"VLAMON_SLACK_URL": f"{server.url}/hook"}
        good = vlamon(tmp_path, "alert", "test", "--on-alert", "cat > /dev/null", **hook)
        server.code = 500
        bad = vlamon(tmp_path, "alert", "test", "--json", **hook)
    assert (good.returncode, good.stdout) == (0, "command: taken\nslack: taken\n")
    assert bad.returncode == 1
    assert "500" in json.loads(bad.stdout)["slack"]
    assert server.url not in bad.stdout + bad.stderr


def test_without_a_channel_it_says_what_to_do(tmp_path: Path) -> None:
    for command in (("alert", "test"), ("watchdog", "--socket", str(tmp_path / "s.sock"))):
        result = vlamon(tmp_path, *command)
        assert result.returncode == 2
        assert f"add one to {tmp_path}/alerts.toml" in result.stderr
        assert "Traceback" not in result.stderr


def test_a_training_killed_with_sigkill_is_reported_by_the_watchdog(tmp_path: Path) -> None:
    place = str(tmp_path / "s.sock")
    training = subprocess.Popen(
        [sys.executable, "-c", TRAINING, place], stdout=subprocess.PIPE, text=True
    )
    assert training.stdout is not None
    assert training.stdout.readline() == "going\n"
    with http_server() as server:
        dog = subprocess.Popen(
            [sys.executable, "-m", "vlamon", "watchdog", "--socket", place],
            stderr=subprocess.PIPE, text=True,
            env={**os.environ, "VLAMON_ALERTS": str(tmp_path / "alerts.toml"),
                 "VLAMON_WEBHOOK_URL": server.url, "XDG_STATE_HOME": str(tmp_path / "state")},
        )  # fmt: skip
        try:
            import time

            time.sleep(4)
            training.send_signal(signal.SIGKILL)
            training.wait()
            (document,) = server.wait(1, 60)
            assert dog.wait(timeout=60) == 1
        finally:
            dog.kill()
            dog.communicate()
    assert (document["kind"], document["run"]) == ("gone", "goal")
    assert f"process {training.pid} is gone" in document["text"]


def test_the_watchdog_says_what_it_watches_and_how_it_ended(tmp_path: Path) -> None:
    copytree(Path(__file__).parents[2] / "fixtures" / "run", tmp_path / "run")

    done = vlamon(tmp_path, "watchdog", str(tmp_path / "run"), "--on-alert", "cat")

    first, last = done.stderr.splitlines()
    assert first.startswith("vlamon: watching ")
    assert first.endswith("; alerts go to command")
    assert last.endswith(" ended")
    assert done.returncode == 0
