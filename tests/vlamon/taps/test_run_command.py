"""`vlamon run -- …` around real scripts: what is seen, and what is left as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import vlamon
from tests.vlamon.emitter.emitted import journal_of, of_type, rows_of
from vlamon.records import Event
from vlamon.taps.options import TapOptions

SCRIPT = """
import sys
from torch.utils.tensorboard import SummaryWriter
writer = SummaryWriter({logs!r})
for step in range(60):
    writer.add_scalar("train/loss", 5 / (step + 1), step)
    writer.add_scalars("parts", {{"closs": 4 / (step + 1), "loss_ct": 0.1}}, step)
    writer.add_scalar("lr", 1e-4, global_step=step)
writer.close()
print("done", len(sys.argv), sys.stdin.read())
sys.exit({code})
"""


def run(
    *args: str, given: str = "", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vlamon", "run", *args],
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(env or {})},
    )


def test_tensorboard_scalars_become_rows_and_the_script_stays_as_it_was(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(logs=str(tmp_path / "tb"), code=0))
    journal = tmp_path / "run"
    result = run(
        "--socket", str(tmp_path / "s.sock"), "--run-dir", str(journal), "--weight", "loss=1",
        "--", sys.executable, str(script), "--lr", "3", given="input",
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (0, "done 3 input\n"), result.stderr
    rows = rows_of(journal_of(journal))
    assert [step for step, _ in rows] == list(range(60))
    assert [values["loss"] for _, values in rows] == [5 / (step + 1) for step in range(60)]
    assert rows[7][1] == {
        "loss": 5 / 8, "parts/closs": 4 / 8, "parts/loss_ct": 0.1, "lr": 1e-4,
    }  # fmt: skip


def test_a_terminal_shows_how_to_watch_and_a_log_of_the_script_does_not(tmp_path: Path) -> None:
    script = [sys.executable, "-m", "vlamon", "run", "--", sys.executable, "-c", "print('mine')"]
    silent = subprocess.run(script, capture_output=True, text=True, timeout=120, check=True)
    assert (silent.stdout, silent.stderr) == ("mine\n", "")
    master, slave = os.openpty()
    subprocess.run(script, stdout=slave, stderr=slave, timeout=120, check=True)
    shown = os.read(master, 4096).decode()
    assert "vlamon: `vlamon watch` in another terminal shows this run (--run-dir DIR" in shown
    os.close(master)
    os.close(slave)


def test_an_exit_code_passes_and_is_reported(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.format(logs=str(tmp_path / "tb"), code=7))
    journal = tmp_path / "run"
    result = run("--socket", str(tmp_path / "s.sock"), "--run-dir", str(journal), "--",
                 sys.executable, str(script))  # fmt: skip
    assert result.returncode == 7
    ends = [event.text for event in of_type(journal_of(journal), Event) if event.kind == "end"]
    assert ends == ["the script ended itself with exit code 7"]


def test_a_signal_reaches_the_script_itself(tmp_path: Path) -> None:
    script = (
        "import signal, time\n"
        "signal.signal(signal.SIGUSR1, lambda *_: exit(9))\n"
        "print(1, flush=True)\n"
        "time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "vlamon", "run", "--", sys.executable, "-c", script],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=60) == 9


def test_a_script_without_trackers_is_left_alone(tmp_path: Path) -> None:
    result = run("--socket", str(tmp_path / "s.sock"), "--", sys.executable, "-c", "print(6 * 7)")
    assert (result.returncode, result.stdout, result.stderr) == (0, "42\n", "")
    assert not (tmp_path / "s.sock").exists()


def test_the_sitecustomize_that_it_hides_still_runs(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os; os.environ['HIDDEN'] = 'ran'")
    script = "import os; print(os.environ['HIDDEN'])"
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    result = run("--", sys.executable, "-c", script, env={"PYTHONPATH": path})
    assert (result.stdout, result.stderr) == ("ran\n", "")


def test_a_command_that_does_not_exist_is_a_sentence() -> None:
    result = run("--", "no-such-program-here")
    assert result.returncode == 127
    assert "no command 'no-such-program-here'" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_weight_that_is_none_is_a_sentence() -> None:
    result = run("--weight", "closs", "--", sys.executable, "-c", "")
    assert result.returncode == 2
    assert "--weight 'closs' is not NAME=NUMBER" in result.stderr


METERS = """
class MetricLogger:
    def __init__(self): self.meters = {}
    def update(self, **values): self.meters.update(values)
    def log_every(self, iterable, print_freq, header=None): yield from iterable
"""


def test_a_metric_logger_is_read_per_batch_and_its_evaluation_is_not(tmp_path: Path) -> None:
    (tmp_path / "util").mkdir()
    (tmp_path / "util" / "__init__.py").write_text("")
    (tmp_path / "util" / "misc.py").write_text(METERS)
    (tmp_path / "train.py").write_text(
        "from util.misc import MetricLogger\n"
        "for epoch in range(2):\n"
        "    logger = MetricLogger()\n"
        "    for batch in logger.log_every(range(5), 10, f'Epoch: [{epoch}]'):\n"
        "        logger.update(closs=float(batch), loss_ct=0.5)\n"
        "        logger.update(lr=1e-4)\n"
        "    test = MetricLogger()\n"
        "    for batch in test.log_every(range(5), 10, 'Test:'):\n"
        "        test.update(closs=99.0)\n"
    )
    journal = tmp_path / "run"
    result = run("--socket", str(tmp_path / "s.sock"), "--run-dir", str(journal), "--",
                 sys.executable, str(tmp_path / "train.py"))  # fmt: skip
    assert result.returncode == 0, result.stderr
    rows = rows_of(journal_of(journal))
    assert [step for step, _ in rows] == list(range(10))
    assert [values["closs"] for _, values in rows] == [0.0, 1.0, 2.0, 3.0, 4.0] * 2
    assert all(values["lr"] == 1e-4 for _, values in rows)


def test_the_socket_serves_while_the_script_runs(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    script = tmp_path / "train.py"
    script.write_text(
        "import time\n"
        "from torch.utils.tensorboard import SummaryWriter\n"
        f"writer = SummaryWriter({str(tmp_path / 'tb')!r})\n"
        "for step in range(100000):\n"
        "    writer.add_scalar('loss', 1.0, step)\n"
        "    time.sleep(0.05)\n"
    )
    socket = tmp_path / "s.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "vlamon", "run", "--socket", str(socket), "--", sys.executable,
         str(script)]
    )  # fmt: skip
    try:
        end = time.monotonic() + 60
        while not socket.exists() and time.monotonic() < end:
            time.sleep(0.1)
        status = subprocess.run(
            [sys.executable, "-m", "vlamon", "status", "--socket", str(socket)],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert status.returncode == 0, status.stderr
        assert "training" in status.stdout
    finally:
        process.kill()
        process.wait()


EXPLODES = """
import sys
from torch.utils.tensorboard import SummaryWriter
writer = SummaryWriter({logs!r})
for step in range(400):
    loss = 2 + 0.1 * (step * 7919 % 13) / 13
    loss = float("nan") if step == 399 else loss * (40 if step >= 380 else 1)
    writer.add_scalar("train/loss", loss, step)
    if loss != loss:
        sys.exit(1)
"""


@pytest.mark.parametrize("guard", ["watch", "off"])
def test_an_explosion_is_reported_by_the_run_itself_where_it_is_to_watch(
    tmp_path: Path, guard: str
) -> None:
    pytest.importorskip("tensorboard")
    script = tmp_path / "train.py"
    script.write_text(EXPLODES.format(logs=str(tmp_path / "tb")))
    journal = tmp_path / "run"
    result = run("--socket", str(tmp_path / "s.sock"), "--run-dir", str(journal), "--guard", guard,
                 "--", sys.executable, str(script))  # fmt: skip
    assert result.returncode == 1
    events = of_type(journal_of(journal), Event)
    exploded = [event.step for event in events if event.kind == "explode"]
    assert exploded[:1] == ([380] if guard == "watch" else [])
    assert ("step 380: explosion: loss" in result.stderr) == (guard == "watch")
    (end,) = [event.text for event in events if event.kind == "end"]
    assert "exit code 1" in end


def test_a_python_without_vlamon_trains_on_and_says_how_to_be_seen(tmp_path: Path) -> None:
    """As where vlamon was installed by pipx: its command is on PATH, its package is not."""
    place = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    script = tmp_path / "train.py"
    script.write_text("print('trained')\n")
    startup = Path(vlamon.__file__).parent / "taps" / "startup"
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    done = subprocess.run(
        [str(place / "bin" / "python"), str(script)],
        capture_output=True,
        text=True,
        env={**kept, "PYTHONPATH": str(startup), "VLAMON_TAP": TapOptions(None).as_text()},
        cwd=tmp_path,
        check=True,
    )

    assert done.stdout == "trained\n"
    assert done.stderr.endswith(f"install it there: {place}/bin/python -m pip install vlamon\n")
    assert done.stderr.count("\n") == 1
