"""A real browser, driven through its DevTools protocol: what the page of `vlamon serve` looks like.

    python -m tests.browser URL PICTURE.png [KEYS …]

Needs a Chromium on this machine; nothing is downloaded.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SIZE = (1200, 720)
PATIENCE = 30.0
"""Seconds for a browser to answer."""


def chromium() -> str | None:
    """The browser to drive, None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One page."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    async def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        return await self._browser.call(method, parameters, self._session)

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript is worth on this page."""
        found = await self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def press(self, keys: str) -> None:
        """Type characters, as a keyboard does."""
        for char in keys:
            key: dict[str, Any] = {"key": char, "text": char}
            if char == "\x1b":
                key = {"key": "Escape", "windowsVirtualKeyCode": 27}
            elif char == "\r":
                key = {"key": "Enter", "text": "\r", "windowsVirtualKeyCode": 13}
            await self.do("Input.dispatchKeyEvent", type="keyDown", **key)
            await self.do("Input.dispatchKeyEvent", type="keyUp", **key)

    async def resize(self, width: int, height: int) -> None:
        """Give the page's window another size, in pixels."""
        await self.do(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    async def picture(self) -> bytes:
        """A PNG of what a person sees who chose this tab: others are not painted."""
        await self.do("Page.bringToFront")
        found = await self.do("Page.captureScreenshot", format="png")
        return base64.b64decode(found["data"])


class Browser:
    """A browser's connection for its driver."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.said: list[str] = []
        """Errors and warnings of the pages' consoles."""

    async def open(self, url: str) -> Tab:
        """Open a page in a new tab."""
        target = await self.call("Target.createTarget", {"url": "about:blank"})
        attached = await self.call(
            "Target.attachToTarget", {"targetId": target["targetId"], "flatten": True}
        )
        tab = Tab(self, attached["sessionId"])
        for domain in ("Log", "Page", "Runtime"):
            await tab.do(f"{domain}.enable")
        await tab.do("Page.navigate", url=url)
        return tab

    async def call(
        self, method: str, parameters: dict[str, Any], session: str = ""
    ) -> dict[str, Any]:
        """Call a method and wait for what it returns."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        await self._socket.send_json({**message, **({"sessionId": session} if session else {})})
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = json.loads(await self._socket.receive_str())
                if answer.get("id") == self._number:
                    if "error" in answer:
                        raise RuntimeError(f"{method}: {answer['error']}")
                    found: dict[str, Any] = answer["result"]
                    return found
                self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Log.entryAdded":
            entry = event["params"]["entry"]
            self.said.append(f"{entry['level']}: {entry['text']}")
        elif event.get("method") == "Runtime.exceptionThrown":
            self.said.append(f"exception: {event['params']['exceptionDetails']['text']}")


@asynccontextmanager
async def browser(path: str, size: tuple[int, int] = SIZE) -> AsyncIterator[Browser]:
    """A headless browser that ends with the block."""
    with tempfile.TemporaryDirectory(prefix="vlamon-browser-", ignore_cleanup_errors=True) as home:
        process = await asyncio.create_subprocess_exec(
            path,
            "--headless=new",
            "--remote-debugging-port=0",
            f"--user-data-dir={home}",
            f"--window-size={size[0]},{size[1]}",
            "--no-first-run",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),  # refuses to run as root otherwise
            "about:blank",
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
        )
        try:
            assert process.stderr is not None
            address = await asyncio.wait_for(_address(process.stderr), PATIENCE)
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(address, max_msg_size=0) as socket,
            ):
                yield Browser(socket)
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _address(stderr: asyncio.StreamReader) -> str:
    said = b""
    while text := await stderr.readline():
        said += text
        if b"DevTools listening on " in text:
            return text.decode().split("DevTools listening on ")[1].strip()
    raise RuntimeError(f"the browser did not start: {said.decode(errors='replace')[-500:]}")


async def main(url: str, picture: str, keys: list[str]) -> None:
    """Open a page, type, and write what it looks like."""
    path = chromium()
    if path is None:
        sys.exit("there is no Chromium on this machine")
    async with browser(path) as driven:
        tab = await driven.open(url)
        await asyncio.sleep(4)
        for each in keys:
            await tab.press(each)
            await asyncio.sleep(1)
        Path(picture).write_bytes(await tab.picture())
        print("\n".join(driven.said))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
