"""`vlamon demo`: a small but real training on this machine, an explosion, and what follows."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

import vlamon
from vlamon.commands.appearance import appearance
from vlamon.commands.demo_story import NarratedSource, next_steps
from vlamon.commands.present import mode_for, present
from vlamon.errors import VlamonError
from vlamon.safe_text import line
from vlamon.sources import Source
from vlamon.tui.options import Options

TRAINER = (sys.executable, "-P", "-m", "trainer")
"""-P: a trainer.py in the working directory is none of ours."""
STEPS = 260
EXPLODES_AT_STEP = 130
"""Late enough for a snapshot that the guard trusts: one that the detectors found quiet for as long
as they take to see a slow divergence."""
BATCH = 4
SECONDS = 88
"""A slow machine ends the training after this long, at the next step."""
LAST_SECOND = 95.0
"""What has not ended by then (an autopsy on a very slow machine) is ended."""
STARTS_WITHIN = 60.0
"""Seconds that the training may take to load torch and to serve its socket."""


@click.command()
@click.option("--preset", default="tiny", show_default=True, help="Preset of the training.")
@click.option("--steps", default=STEPS, show_default=True, type=click.IntRange(min=1))
@click.option("--keep", is_flag=True, help="Keep the run's directory and say where it is.")
@appearance
def command(preset: str, steps: int, keep: bool, plain: bool, json: bool, options: Options) -> int:
    """Train a small VLA model on this machine and watch it explode and recover.

    The training is a process of its own; it ends when this command does, and its files go with it
    unless --keep is given. Needs the trainer: pip install 'vlamon[trainer]'.
    """
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("trainer") is None:
        raise VlamonError(
            "the demo trains a real model and needs torch: pip install 'vlamon[trainer]',"
            " or uvx --from 'vlamon[trainer]' vlamon demo"
        )
    from vlamon.sources.socket import socket_source

    with run_directory(keep) as run_dir, training(run_dir, preset, steps) as (socket, process):
        mode = mode_for(plain=plain, json=json)
        source = NarratedSource(socket_source(socket), EXPLODES_AT_STEP, brief=mode == "plain")
        if mode != "screen":
            alarm = threading.Timer(LAST_SECOND, _end, [process, source])
            alarm.daemon = True
            alarm.start()
        code = present(source, mode, options)
    if source.is_cut and mode != "screen":
        cut = "vlamon: time was up before the recovery: this machine is busy or slow"
        click.echo(cut, err=True)
    for shown in next_steps(str(run_dir) if keep else None):
        click.echo(line(shown), err=True)
    return code


def _end(process: subprocess.Popen[bytes], source: Source) -> None:
    """End the demo without a terminal after two minutes: no key will be pressed."""
    _signal(process, signal.SIGTERM, seconds=3.0)
    source.close()  # before the training is killed, so that its end is not reported as a failure


@contextmanager
def run_directory(keep: bool) -> Iterator[Path]:
    """A directory for the run that is gone afterwards, unless it is to be kept."""
    path = Path(tempfile.mkdtemp(prefix="vlamon-demo-"))
    try:
        yield path
    finally:
        if keep:
            click.echo(line(f"vlamon: the run is kept in {path}"), err=True)
        else:
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def training(
    run_dir: Path, preset: str, steps: int
) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """A training and the socket that it serves; stopped when the block is left."""
    socket, output = run_dir / "vla.sock", run_dir / "stdout.txt"
    trainer = [*TRAINER, "--preset", preset, "--name", "demo"]
    trainer += ["--socket", str(socket), "--run-dir", str(run_dir), "--steps", str(steps)]
    trainer += ["--max-seconds", str(SECONDS), "--set", f"loop.batch={BATCH}"]
    trainer += ["--set", "loop.steps_per_epoch=65", "--set", "loop.validation_samples=8"]
    # Trusted snapshots close together: the autopsy replays from one to the explosion.
    trainer += ["--set", "guard.every=10", "--set", "guard.slots=6", "--set", "guard.cooldown=40"]
    trainer += ["--induce", f"lr_jump@{EXPLODES_AT_STEP * BATCH}"]
    with output.open("wb") as log:
        # A session of its own: Ctrl-C is for the dashboard, which then ends the training in order.
        process = subprocess.Popen(
            trainer,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=_environment(),
        )
    try:
        _wait_for(socket, process, output)
        yield socket, process
    finally:
        _stop(process)


def _environment() -> dict[str, str]:
    """Where `trainer` is found, whatever lies in the working directory."""
    places = [str(Path(vlamon.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, places))
    return {"OMP_NUM_THREADS": str(_threads()), **os.environ, "PYTHONPATH": path}


def _threads() -> int:
    """All cores but one, which the dashboard needs: threads that wait for a core wait spinning."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


def _wait_for(socket: Path, process: subprocess.Popen[bytes], output: Path) -> None:
    click.echo("vlamon: starting a training on this machine …", err=True)
    deadline = time.monotonic() + STARTS_WITHIN
    while not socket.exists():
        if process.poll() is not None:
            said = output.read_text(errors="replace").strip().splitlines()
            last = said[-1] if said else f"exit code {process.returncode}"
            raise VlamonError(f"the demo's training could not start: {last}")
        if time.monotonic() > deadline:
            raise VlamonError(
                f"the demo's training did not serve its socket within {STARTS_WITHIN:g} s;"
                " run `python -m trainer --preset micro --steps 5` to see what it does"
            )
        time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(process, number, seconds=10.0)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals, seconds: float) -> None:
    if process.poll() is None:
        os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
