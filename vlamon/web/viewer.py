"""One viewer's dashboard: a process of its own, with a websocket in a terminal's place."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from textual_serve.app_service import AppService

import vlamon
from vlamon.safe_text import line

READY = b"__GANGLION__\n"
"""What Textual's driver for the web writes before its first packet."""
LEAVE = 4.0
"""Seconds that a dashboard may take to leave before it is killed."""
KEPT = 8192
"""Bytes of a dashboard's stderr that are kept: its last words, where it could not start."""
WIDTH = range(10, 501)
HEIGHT = range(4, 201)


class Viewer(AppService):
    """Runs a dashboard and speaks with it by Textual's packets."""

    def __init__(self, argv: Sequence[str], **connected: Any) -> None:
        super().__init__("", **connected)
        self._argv = argv
        self._last_words: asyncio.Task[str] | None = None

    def _build_environment(self, width: int = 80, height: int = 24) -> dict[str, str]:
        """A browser's terminal, whatever terminal the server was started in."""
        environment = super()._build_environment(width, height)
        for name in ("TMUX", "STY", "LINES"):
            environment.pop(name, None)
        known = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
        # The command leaves the working directory out of the path, where vlamon may lie.
        places = [str(Path(vlamon.__file__).parents[1]), environment.get("PYTHONPATH", "")]
        known["PYTHONPATH"] = os.pathsep.join(filter(None, places))
        return {**environment, **known}

    async def _open_app_process(self, width: int = 80, height: int = 24) -> Process:
        environment = self._build_environment(_within(width, WIDTH), _within(height, HEIGHT))
        process = await asyncio.create_subprocess_exec(
            *self._argv, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment
        )
        self._process, self._stdin = process, process.stdin
        return process

    async def run(self) -> None:
        """Carry the dashboard's packets to the browser until either is gone."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        self._last_words = asyncio.create_task(_last_words(process.stderr))
        started = False
        # Either the dashboard ends here or the browser's side does.
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await process.stdout.readuntil(READY)
            started = True
            await self._carry(process.stdout)
        if not started:
            sentences = map(line, (await self._last_words).splitlines())
            with contextlib.suppress(ConnectionError):
                await self.remote_write_bytes("\r\n".join(sentences).encode())
                await self.remote_close()

    async def _carry(self, stdout: asyncio.StreamReader) -> None:
        handlers = {b"D": self.on_data, b"M": self.on_meta, b"P": self.on_packed}
        while True:
            handler = handlers[await stdout.readexactly(1)]
            size = int.from_bytes(await stdout.readexactly(4), "big")
            await handler(await stdout.readexactly(size))

    async def receive(self, envelope: object) -> list[object] | None:
        """Pass on what the browser sent; returns an answer where there is one."""
        match envelope:
            case ["stdin", str(typed)]:
                await self.send_bytes(typed.encode(errors="replace"))
            case ["resize", {"width": int(width), "height": int(height)}]:
                await self.set_terminal_size(_within(width, WIDTH), _within(height, HEIGHT))
            case ["ping", str(data)]:
                return ["pong", data]
            case ["focus"]:
                await self.focus()
            case ["blur"]:
                await self.blur()
        return None

    async def stop(self) -> None:
        """End the dashboard; one that does not leave is killed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(super().stop(), LEAVE)
        if self._process is None:
            return
        if self._process.returncode is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), LEAVE)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def complaint(self) -> str:
        """What a dashboard that failed wrote on stderr."""
        failed = self._process is not None and self._process.returncode not in (0, None)
        if not failed or self._last_words is None:
            return ""
        done, _ = await asyncio.wait([self._last_words], timeout=1.0)
        return self._last_words.result() if done else ""


async def _last_words(stderr: asyncio.StreamReader | None) -> str:
    kept = b""
    while stderr is not None and (data := await stderr.read(KEPT)):
        kept = (kept + data)[-KEPT:]
    return kept.decode(errors="replace")


def _within(number: int, bounds: range) -> int:
    return min(max(number, bounds.start), bounds.stop - 1)
