"""The web server: lets viewers in and gives each a dashboard of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket as sockets
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web
from aiohttp.http_exceptions import HttpProcessingError
from textual_serve.server import Server

from vlamon.safe_text import line
from vlamon.web.page import FOCUS, page
from vlamon.web.viewer import Viewer

if TYPE_CHECKING:
    from vlamon.web.access import AccessRules

HEARTBEAT = 15.0
"""Seconds between two questions whether a browser is still there."""
LARGEST_MESSAGE = 64 << 10
"""Bytes: keys, a paste, a size."""
FONT_SIZES = range(6, 41)
FONT_SIZE = 14

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class ServePlan:
    """What is served, and to whom."""

    argv: Sequence[str]
    """The command that shows one dashboard."""
    title: str
    access: AccessRules
    viewers: int
    """Dashboards that may be open at once: each is a process."""


class BrowserView:
    """The routes, all below the token."""

    def __init__(self, plan: ServePlan) -> None:
        self._plan = plan
        self._files = Server("")  # its static files and downloads; our own rules and viewers
        self._open: set[web.WebSocketResponse] = set()

    def application(self) -> web.Application:
        """The application to run."""
        app = web.Application(middlewares=[self._guarded])
        below = f"/{self._plan.access.token}"
        app.add_routes(
            [
                web.get(below, self._to_page),
                web.get(f"{below}/", self._page),
                web.get(f"{below}/focus.js", self._focus),
                web.get(f"{below}/ws", self._websocket),
                web.get(f"{below}/download/{{key}}", self._files.handle_download),
                web.static(f"{below}/static", self._files.statics_path),
            ]
        )
        app.on_shutdown.append(self._close_all)
        return app

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = self._plan.access.refusal(
            request.path, request.headers.get("Host"), request.headers.get("Origin")
        )
        if refusal:
            return _sentence(HTTPStatus.FORBIDDEN, refusal)
        try:
            return await handler(request)
        except OSError:  # the name of a static file may be any that no file system takes
            return _sentence(HTTPStatus.NOT_FOUND, "There is no such file.")

    async def _to_page(self, request: web.Request) -> web.StreamResponse:
        """Relative addresses on the page need its slash."""
        raise web.HTTPFound(f"{self._plan.access.token}/")

    async def _page(self, request: web.Request) -> web.StreamResponse:
        if self._is_full():
            return self._no_more()  # a browser does not show what a websocket is refused with
        size = _number(request, "fontsize", FONT_SIZE)
        size = size if size in FONT_SIZES else FONT_SIZE
        # `request.host` may be another one: that of an absolute address in the first line.
        url = self._plan.access.page_url(request.headers["Host"], request.scheme)
        text, headers = page(self._plan.title, url, size)
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def _focus(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text=FOCUS, content_type="text/javascript")

    def _is_full(self) -> bool:
        return len(self._open) >= self._plan.viewers

    def _no_more(self) -> web.Response:
        return _sentence(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"This server shows at most {self._plan.viewers} at once: close another dashboard and"
            " load this page again, or start `vlamon serve` with a larger --viewers.",
        )

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if self._is_full():
            return self._no_more()
        websocket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=LARGEST_MESSAGE)
        self._open.add(websocket)
        try:
            await websocket.prepare(request)
            await self._show(websocket, request)
        finally:
            self._open.discard(websocket)
        return websocket

    async def _show(self, websocket: web.WebSocketResponse, request: web.Request) -> None:
        """Run a dashboard for as long as the browser stays."""
        viewer = Viewer(
            self._plan.argv,
            write_bytes=websocket.send_bytes,
            write_str=_relative_downloads(websocket.send_str),
            close=websocket.close,
            download_manager=self._files.download_manager,
        )
        try:
            await viewer.start(_number(request, "width", 80), _number(request, "height", 24))
            async for message in websocket:
                if message.type is WSMsgType.TEXT:
                    answer = await viewer.receive(_decoded(message.data))
                    if answer is not None:
                        await websocket.send_json(answer)
        except ConnectionError:
            pass  # The browser left while it was answered.
        finally:
            await viewer.stop()
            for said in (await viewer.complaint()).splitlines():
                print(line(said), file=sys.stderr, flush=True)

    async def _close_all(self, app: web.Application) -> None:
        for websocket in list(self._open):
            await websocket.close()


def run(plan: ServePlan, listening: sockets.socket) -> int:
    """Serve until a signal; returns the exit code."""
    return asyncio.run(_serve(BrowserView(plan).application(), listening))


async def _serve(app: web.Application, listening: sockets.socket) -> int:
    logging.getLogger("aiohttp.server").addFilter(_ours)
    runner = web.AppRunner(app, access_log=None)  # its lines would hold the token
    await runner.setup()
    await web.SockSite(runner, listening).start()
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(number: int) -> None:
        if not ended.done():
            ended.set_result(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return await ended
    finally:
        await runner.cleanup()


def _ours(record: logging.LogRecord) -> bool:
    """Whether an error is ours: those of foreign bytes could fill the terminal."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


def _relative_downloads(send: Callable[[str], Awaitable[None]]) -> Callable[[str], Awaitable[None]]:
    """Have files fetched below the page's address, which has the token, not below the root."""

    async def translated(text: str) -> None:
        kind, value = json.loads(text)
        if kind == "deliver_file_start":
            address = {"url": f"download/{value}", "new_tab": True}
            text = json.dumps(["open_url", address])
        await send(text)

    return translated


def _decoded(text: str) -> object:
    with contextlib.suppress(ValueError):
        found: object = json.loads(text)
        return found
    return None


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return int(text) if text.isdecimal() and len(text) < 6 else default


def _sentence(status: HTTPStatus, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text}\n")
