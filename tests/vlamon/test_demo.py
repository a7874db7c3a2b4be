"""`vlamon demo` without a terminal: plain lines, an end of its own, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

DEMO = (sys.executable, "-P", "-m", "vlamon", "demo", "--preset", "micro")
ROOT = Path(__file__).parents[2]


def environment(tmp_path: Path) -> dict[str, str]:
    # A short path: a Unix socket's is limited to 108 bytes.
    return {
        **os.environ,
        "TMPDIR": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }


def left(tmp_path: Path) -> list[Path]:
    """What the demo left; PyTorch keeps a cache of its own beside it."""
    return list(tmp_path.glob("vlamon-demo-*"))


def test_it_prints_every_batch_ends_by_itself_and_cleans_up(tmp_path: Path) -> None:
    somebodys = tmp_path / "somebodys"
    somebodys.mkdir()
    for name in ("trainer", "torch", "numbers", "vlamon"):
        (somebodys / f"{name}.py").write_text("raise SystemExit('code of the directory ran')\n")
    done = subprocess.run(
        [*DEMO, "--steps", "5"],
        capture_output=True,
        text=True,
        timeout=400,
        env=environment(tmp_path),
        cwd=somebodys,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sum("closs" in line and " step " in line for line in done.stdout.splitlines()) >= 5
    assert " end " in done.stdout
    assert "! note at step 0: a small vision-language-action model trains" in done.stdout
    assert "broke off" not in done.stderr
    assert "Try next:\n  vlamon demo --keep" in done.stderr
    assert all(len(shown) <= 120 for shown in done.stdout.splitlines() if "closs" in shown[:60])
    assert left(tmp_path) == []


def test_a_training_that_cannot_start_is_said_in_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DEMO[:-1], "nothing"],
        capture_output=True,
        text=True,
        timeout=400,
        env=environment(tmp_path),
        check=False,
    )
    assert done.returncode == 2
    assert "no preset is called 'nothing'" in done.stderr
    assert "Traceback" not in done.stderr
    assert left(tmp_path) == []


def test_ctrl_c_ends_the_training_with_it(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [*DEMO, "--steps", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(tmp_path),
    )
    assert demo.stdout is not None
    demo.stdout.readline()
    demo.send_signal(signal.SIGINT)
    demo.communicate(timeout=300)
    assert demo.returncode == 130
    deadline = time.monotonic() + 60
    while left(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left(tmp_path) == []
