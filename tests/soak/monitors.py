"""Monitors that come, stop and die, and one connection that never ceases to give commands."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import random
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from vlamon.protocol import messages
from vlamon.protocol.commands import Command
from vlamon.protocol.frames import FrameReader, ProtocolError, pack
from vlamon.protocol.messages import Subscription
from vlamon.records import Reply

MOST = 4
"""Transient monitors at once: each costs a processor's second to start."""
PACE = 0.06
"""Seconds between two commands; more than about 20 a second are not read."""


@dataclass(slots=True)
class Monitor:
    """A `vlamon` process, with the far end of its terminal where it has one."""

    process: subprocess.Popen[bytes]
    terminal: int | None = None
    stopped: bool = False

    def close(self) -> None:
        """Kill it, whatever state it is in."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        if self.terminal is not None:
            os.close(self.terminal)
            self.terminal = None


class Monitors:
    """Those that are alive."""

    def __init__(self, path: Path, run_dir: Path, rng: random.Random, folder: Path) -> None:
        self._path, self._run_dir, self._rng, self._folder = path, run_dir, rng, folder
        self._alive: list[Monitor] = []
        self._longest: list[tuple[Monitor, Path]] = []

    def keep_one(self) -> None:
        """One monitor that nobody disturbs; another where it ended with its training."""
        if self._longest and self._longest[-1][0].process.poll() is None:
            return
        lines = self._folder / f"watch-{len(self._longest)}.jsonl"
        with lines.open("wb") as out:
            process = self._vlamon("watch", "--json", "--socket", str(self._path), stdout=out)
        self._longest.append((Monitor(process), lines))

    def start(self) -> None:
        """One more, of any kind."""
        self._reap()
        if len(self._alive) >= MOST:
            return
        watch = ("watch", "--socket", str(self._path))
        kind = self._rng.choice(("plain", "screen", "json", "tail", "status"))
        if kind == "screen":
            self._alive.append(self._on_a_terminal(*watch))
        elif kind == "tail":
            log = str(self._run_dir / "output.log")
            self._alive.append(Monitor(self._vlamon("tail", log, "--plain")))
        elif kind == "status":
            self._alive.append(Monitor(self._vlamon("status", "--socket", str(self._path))))
        else:
            self._alive.append(Monitor(self._vlamon(*watch, f"--{kind}")))

    def kill(self) -> None:
        """End one by a signal of any kind."""
        self._reap()
        if self._alive:
            victim = self._alive.pop(self._rng.randrange(len(self._alive)))
            number = self._rng.choice((signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
            victim.process.send_signal(number)
            victim.close()

    def stop(self) -> None:
        """SIGSTOP one."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT one."""
        self._signal(signal.SIGCONT)

    def resize(self) -> None:
        """Another size for each terminal, with SIGWINCH."""
        self._reap()
        for each in self._alive:
            if each.terminal is not None:
                size = struct.pack("4H", self._rng.randint(1, 70), self._rng.randint(1, 250), 0, 0)
                fcntl.ioctl(each.terminal, termios.TIOCSWINSZ, size)
                each.process.send_signal(signal.SIGWINCH)

    def close(self, longest_aside: bool = False) -> None:
        """End them all."""
        while self._alive:
            self._alive.pop().close()
        if not longest_aside:
            for each, _ in self._longest:
                each.close()

    def wait_for_the_longest(self, seconds: float) -> None:
        """Until it has ended with its training."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._longest[-1][0].process.wait(seconds)

    def longest_lines(self) -> list[list[dict[str, Any]]]:
        """What each of the undisturbed ones was told."""
        return [list(_objects(lines)) for _, lines in self._longest]

    def _signal(self, number: int) -> None:
        self._reap()
        if self._alive:
            self._rng.choice(self._alive).process.send_signal(number)

    def _reap(self) -> None:
        for each in self._alive:
            if each.terminal is not None:
                with contextlib.suppress(OSError):
                    while os.read(each.terminal, 1 << 16):
                        pass
            if each.process.poll() is not None:
                each.close()
        self._alive = [each for each in self._alive if each.process.returncode is None]

    def _on_a_terminal(self, *command: str) -> Monitor:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
        os.set_blocking(ours, False)
        environment = os.environ | {"TERM": "xterm-256color"}
        process = self._vlamon(*command, stdin=theirs, stdout=theirs, env=environment)
        os.close(theirs)
        return Monitor(process, ours)

    def _vlamon(self, *command: str, **given: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "vlamon", *command],
            stdin=given.get("stdin", subprocess.DEVNULL),
            stdout=given.get("stdout", subprocess.DEVNULL),
            stderr=subprocess.DEVNULL,
            env=given.get("env"),
            start_new_session=True,
        )


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            yield json.loads(line)


class Commander:
    """Gives commands that change no number: notes, checkpoints, pauses, and many to be refused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread: threading.Thread | None = None
        self._on = threading.Event()
        self._numbers = count()
        self.answered = 0
        """Replies, refusals included."""

    def start(self) -> None:
        """Begin, or go on."""
        if self._thread is None:
            self._on.set()
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def pause(self) -> None:
        """Close the connection until `start`."""
        self._on.clear()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """The end."""
        self.pause()

    def _run(self) -> None:
        while self._on.is_set():
            with contextlib.suppress(OSError, ProtocolError):
                self._talk()
            time.sleep(0.1)

    def _talk(self) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._path))
            connection.settimeout(PACE)
            connection.sendall(pack(messages.encode(Subscription(rows=False))))
            reader = FrameReader()
            while self._on.is_set():
                for command in self._next():
                    connection.sendall(pack(messages.encode(command)))
                if not self._hear(connection, reader):
                    return
                time.sleep(PACE)
            self._leave_running(connection)

    def _hear(self, connection: socket.socket, reader: FrameReader) -> bool:
        with contextlib.suppress(TimeoutError):
            data = connection.recv(1 << 16)
            if not data:
                return False
            reader.feed(data)
            replies = [messages.decode(message) for message in reader.messages()]
            self.answered += sum(isinstance(reply, Reply) for reply in replies)
        return True

    def _next(self) -> list[Command]:
        number = next(self._numbers)
        if number % 40 == 0:
            return [self._command("pause"), self._command("resume")]
        if number % 25 == 0:
            return [self._command("checkpoint")]
        refused = (
            self._command("rollback", to=10**9),
            self._command("set", name="lr_scale", value=1e308),
            self._command("set", name="nothing", value=1),
            self._command("format", disk="/"),
        )
        note = self._command("note", text="\x1b[2J \u202e a note of the soak")
        return [(note, *refused)[number % 5]]

    def _leave_running(self, connection: socket.socket) -> None:
        connection.sendall(pack(messages.encode(self._command("resume"))))

    def _command(self, name: str, /, **args: Any) -> Command:
        return Command(f"soak-{os.getpid()}-{next(self._numbers)}-{time.monotonic()}", name, args)
