"""Every command of vlamon on a page is executed: with the files that it names, on a training that
runs, in a shell's directory of its own. What needs a cluster, ssh or a launcher finds a program of
that name which does the same here."""

from __future__ import annotations

import os
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import copy, copytree, rmtree

import pytest

from tests.docs.pages import ROOT, Written, console, pages
from tests.vlamon.commands.training import environment
from vlamon.cli import run

FIXTURES = ROOT / "tests" / "fixtures"
SOCKETS = ("/tmp/vla.sock", "/tmp/vla-job4711.sock")
"""Where the pages let trainings serve; another may do so on this machine."""
ELSEWHERE = {
    "demo": "tests/vlamon/test_demo.py",
    "mcp": "tests/vlamon/agents/test_mcp.py",
    "serve": "tests/vlamon/commands/test_serve.py",
}
"""Commands that are executed there, since they take long or need an extra."""
FOLLOWS = ("tail", "watch", "watchdog")
"""Commands that go on until the training ends, or Ctrl-C."""
SUCCESS = {"analyze": (0, 10, 20, 30), "diff": (0, 1), "watchdog": (0, 1, 130)}
"""Exit codes that are answers; of all others 0, and 130 for those that follow."""
TRAINING = """
import sys, time, vlamon
with vlamon.Emitter(sys.argv[1], run="goal", run_dir=sys.argv[2]) as emitter:
    list(emitter.commands())
    emitter.log(0, closs=8.5, loss_ct=0.13)
    print("up", flush=True)
    for step in range(1, 1_000_000):
        emitter.log(step, closs=8.5, loss_ct=0.13)
        emitter.status(state="training")
        for command in emitter.commands():
            command.done({"step": step})
        time.sleep(0.02)
"""


def commands() -> list[Written]:
    """Each command of vlamon once, whatever comment stands behind it on which page."""
    found = {
        shlex.join(written.words[1:]): written
        for page in pages()
        for written in console(page)
        if written.words[0] == "vlamon" and "..." not in written.text
    }
    return [each for each in found.values() if not each.words[1:] or each.words[1] not in ELSEWHERE]


@pytest.fixture(scope="module")
def house() -> Iterator[Path]:
    """A user's directory: logs, runs, a script, and a training that is running as job 4711."""
    place = Path(tempfile.mkdtemp(prefix="vla-docs-"))  # a socket's path is short
    for name in ("output.log", "log_train.txt"):
        copy(FIXTURES / "metriclogger" / "sample" / name, place)
    for name in ("a", "b", "c", "goal"):
        copytree(FIXTURES / "run", place / "runs" / name)
    (place / "logs").mkdir()
    copy(FIXTURES / "logs" / "key_values.log", place / "logs" / "train.txt")
    (place / "train.py").write_text("print('trained')\n")
    settings = place / "config" / "vlamon" / "alerts.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('[command]\nrun = "cat"\n')
    settings.chmod(0o600)
    programs = place / "bin"
    programs.mkdir()
    (programs / "python").symlink_to(sys.executable)
    for name in ("torchrun", "accelerate", "lerobot-train", "notify-me", "../on-alert.sh"):
        _program(programs / name, f"echo {name}")
    _program(programs / "ssh", 'for last; do :; done\nexec sh -c "$last"')
    try:
        with _training(place):
            yield place
    finally:
        rmtree(place, ignore_errors=True)


def _program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def _variables(place: Path) -> dict[str, str]:
    return {
        "HOME": str(place),
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "VLAMON_HOME": str(place / "home"),
        "VLAMON_REMOTE": f"{sys.executable} -m vlamon relay",
        "VLAMON_SOCKET": str(place / "vla.sock"),
        "XDG_CONFIG_HOME": str(place / "config"),
        "XDG_RUNTIME_DIR": "",
        "XDG_STATE_HOME": str(place / "state"),
        "PYTHONPATH": str(ROOT),
    }


@contextmanager
def _training(place: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(place / "vla.sock"), str(place / "live")],
        stdout=subprocess.PIPE,
        text=True,
        env={**environment(), "VLAMON_HOME": str(place / "home"), "SLURM_JOB_ID": "4711"},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.text)
def test_a_command_of_a_page_does_what_it_says(
    command: Written,
    house: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(house)
    for name, value in _variables(house).items():
        monkeypatch.setenv(name, value)
    words = command.words[1:]
    for socket in SOCKETS:
        words = [word.replace(socket, str(house / "vla.sock")) for word in words]
    name = words[0] if words else ""

    code = _executed(words) if name == "run" else _until_it_says_something(words)

    told = capfd.readouterr()
    expected = SUCCESS.get(name, (0, 130) if name in FOLLOWS else (0,))
    assert code in expected, told.err
    assert told.out or told.err


def _executed(words: list[str]) -> int:
    """`vlamon run` becomes the training's process."""
    return subprocess.run(
        [sys.executable, "-m", "vlamon", *words], check=False, timeout=60
    ).returncode


def _until_it_says_something(words: list[str]) -> int:
    """Run a command here; one that follows gets a Ctrl-C once it has written a line."""
    over = threading.Event()

    def interrupt() -> None:
        while not over.wait(0.1):
            if os.fstat(1).st_size + os.fstat(2).st_size:
                signal.pthread_kill(main, signal.SIGINT)
                return

    main = threading.get_ident()
    watching = threading.Thread(target=interrupt, daemon=True)
    if words and words[0] in FOLLOWS:
        watching.start()
    try:
        code = run(words)
    except KeyboardInterrupt:  # it ended by itself at that moment
        code = 130
    with suppress(KeyboardInterrupt):  # or at this one
        over.set()
        if watching.ident is not None:
            watching.join()
    return code


def test_what_is_not_executed_here_is_executed_elsewhere() -> None:
    assert [path for path in ELSEWHERE.values() if not (ROOT / path).is_file()] == []
    assert len(commands()) > 30
