"""The session: a training, what is done to it, and what must hold at the end."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.soak import checks
from tests.soak.disk import SmallDisk
from tests.soak.monitors import Commander, Monitors

PATIENCE = 120.0
"""Seconds for what comes at once where nothing is broken, however loaded the machine."""
STEP_SECONDS = 0.004
"""Pause after each step of the training, so that it does not fill memory with rows."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and with which dice."""

    seconds: float
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened, and every promise that did not hold."""

    summary: str
    broken: list[str]


class Training:
    """The training's process; it may be ended and started again."""

    def __init__(self, folder: Path, run_dir: Path, steps: int, explode_at: int) -> None:
        self.folder = folder
        self.socket = folder / "vla.sock"
        self.truth = folder / "truth"
        self.errors = folder / "stderr"
        self._arguments = ["--socket", self.socket, "--run-dir", run_dir, "--steps", steps]
        self._arguments += ["--sleep", STEP_SECONDS, "--explode-at", explode_at]
        self.process = self._started()
        self.began = 0
        """Steps that earlier processes computed."""

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.soak.training", self.truth, *self._arguments]
        with self.errors.open("ab") as errors:
            return subprocess.Popen([str(word) for word in command], stderr=errors)

    def end(self, number: int) -> list[checks.Step]:
        """End it by a signal; returns what this process computed."""
        self.process.send_signal(number)
        self.process.wait(PATIENCE)
        return self.computed()[self.began :]

    def go_on(self) -> None:
        """Start it again from its newest checkpoint."""
        self.began = len(self.computed())
        self.process = self._started()

    @property
    def running(self) -> bool:
        """Whether it trains."""
        return self.process.poll() is None

    def computed(self) -> list[checks.Step]:
        """Every step so far."""
        return checks.read_truth(self.truth)


@dataclass(slots=True)
class Session:
    """Everything that is alive, and what was done."""

    rng: random.Random
    training: Training
    monitors: Monitors
    commander: Commander
    disk: SmallDisk | None
    run_dir: Path
    before: set[int]
    """Processes that stood before it."""
    done: Counter[str] = field(default_factory=Counter)
    killed: set[int] = field(default_factory=set)
    """Attempts of a process that ended by SIGKILL."""

    def disturb(self) -> None:
        """One thing of all that may happen."""
        actions = [
            (8, "monitor comes", self.monitors.start),
            (6, "monitor is killed", self.monitors.kill),
            (4, "monitor is stopped", self.monitors.stop),
            (4, "monitor goes on", self.monitors.resume),
            (5, "terminal is resized", self.monitors.resize),
            (4, "training is stopped", self._pause),
            (2, "training hears WINCH", self._winch),
            (4, "log is rotated", self._rotate),
            (5 if self.disk else 0, "disk is full", self._fill),
        ]
        weights = [weight for weight, _, _ in actions]
        _, name, act = self.rng.choices(actions, weights)[0]
        act()
        self.done[name] += 1

    def _pause(self) -> None:
        self.training.process.send_signal(signal.SIGSTOP)
        time.sleep(self.rng.uniform(0.05, 1.0))
        self.training.process.send_signal(signal.SIGCONT)

    def _winch(self) -> None:
        self.training.process.send_signal(signal.SIGWINCH)

    def _rotate(self) -> None:
        log = self.run_dir / "output.log"
        with contextlib.suppress(FileNotFoundError):
            log.rename(log.with_suffix(f".{self.done['log is rotated']}"))

    def _fill(self) -> None:
        assert self.disk is not None
        self.disk.fill()
        time.sleep(self.rng.uniform(0.2, 2.5))
        self.disk.empty()


def soak(folder: Path, plan: Plan) -> Outcome:
    """Run the session; a third of the time is for the quiet twin and for starts and ends."""
    steps = max(600, int(plan.seconds * 0.5 / (2.2 * STEP_SECONDS)))
    explode_at = steps * 9 // 10
    before = checks.children()
    with SmallDisk.mounted(folder / "disk") as disk:
        run_dir = (disk.path if disk else folder) / "run"
        run_dir.mkdir(parents=True)
        training = Training(folder, run_dir, steps, explode_at)
        session = Session(
            random.Random(plan.seed),
            training,
            Monitors(training.socket, run_dir, random.Random(plan.seed + 1), folder),
            Commander(training.socket),
            disk,
            run_dir,
            before,
        )
        try:
            broken = _attack(session, steps, explode_at)
            broken += _judge(session, folder, steps, explode_at)
        finally:
            session.monitors.close()
            session.commander.close()
            if training.running:
                training.process.kill()
                training.process.wait()
    did = ", ".join(f"{name} {count}×" for name, count in sorted(session.done.items()))
    rows = len(training.computed())
    asked = session.commander.answered
    disk_note = "" if disk else "; no small disk could be mounted, so none was filled"
    return Outcome(f"{rows} steps, {asked} commands answered, {did}{disk_note}", broken)


def _attack(session: Session, steps: int, explode_at: int) -> list[str]:
    training = session.training
    _wait(lambda: len(training.computed()) > 100, "the first steps")
    session.commander.start()
    calm = [_calm(session)]
    restarts = {steps // 3: signal.SIGTERM, steps * 2 // 3: signal.SIGKILL}
    while training.running and _newest(training) < explode_at - steps // 20:
        session.monitors.keep_one()
        session.disturb()
        for step in [step for step in restarts if _newest(training) >= step]:
            calm.append(_calm(session))
            _restart(session, restarts.pop(step))
            calm.append(_calm(session))
        time.sleep(session.rng.uniform(0.02, 0.3))
    if training.running:
        calm.append(_calm(session))
    training.process.wait(PATIENCE + steps * STEP_SECONDS)
    session.monitors.wait_for_the_longest(PATIENCE)
    session.commander.close()
    session.monitors.close()
    return checks.of_calm_moments(calm)


def _restart(session: Session, number: signal.Signals) -> None:
    training = session.training
    steps = training.end(number)
    if number == signal.SIGKILL:
        # Its last second was not on disk yet, and a rollback may lie in it.
        session.killed |= {step.attempt for step in steps}
    training.go_on()
    session.done[f"training ends by {number.name} and resumes"] += 1
    _wait(lambda: len(training.computed()) > training.began + 50, "the resume")


def _judge(session: Session, folder: Path, steps: int, explode_at: int) -> list[str]:
    training = session.training
    broken = []
    if training.process.returncode != 0:
        said = training.errors.read_text(errors="replace")[-2000:]
        broken.append(f"the training ended with {training.process.returncode}: {said}")
    twin = folder / "twin"
    command = [sys.executable, "-m", "tests.soak.training", twin, "--steps", steps]
    command += ["--explode-at", explode_at]
    subprocess.run([str(w) for w in command], check=True, capture_output=True)
    truth = training.computed()
    broken += checks.of_numbers(truth, checks.read_truth(twin), explode_at)
    broken += checks.of_journal(session.run_dir / "run.vlaj", truth, session.killed)
    broken += checks.of_monitors(session.monitors.longest_lines(), truth, session.killed)
    broken += checks.of_log(session.run_dir, truth, session.killed)
    broken += checks.of_left_overs(folder, session.run_dir)
    broken += checks.of_processes(session.before)
    if not session.commander.answered:
        broken.append("no command was answered")
    return broken


def _calm(session: Session) -> checks.Calm:
    """A moment without transient monitors: what the training holds then."""
    session.monitors.close(longest_aside=True)
    session.commander.pause()
    time.sleep(1.5)
    found = checks.Calm.of(session.training.process.pid)
    session.commander.start()
    return found


def _newest(training: Training) -> int:
    found = training.computed()
    return found[-1].step if found else 0


def _wait(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"never came: {what}")
        time.sleep(0.05)
