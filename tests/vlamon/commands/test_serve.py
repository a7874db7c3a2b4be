"""`vlamon serve`, spoken to as a browser does: HTTP, a websocket, and a terminal behind it."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.browser import browser as real_browser
from tests.browser import chromium
from tests.vlamon.commands.training import environment, training
from vlamon.cli import run
from vlamon.commands.serve import dashboard

aiohttp = pytest.importorskip("aiohttp", reason="needs the extra web")
pyte = pytest.importorskip("pyte", reason="needs a terminal emulator")

JOURNAL = str(Path(__file__).parents[2] / "fixtures" / "run" / "run.vlaj")
PATIENCE = 60.0


@contextmanager
def serving(cwd: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server and the address that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "vlamon", "serve", "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=environment(XDG_STATE_HOME=str(cwd / "state")),
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), process.communicate()
        yield url, process
    finally:
        process.kill()
        process.communicate()


class Browser:
    """A websocket with a terminal of 100×30 behind it."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._websocket = websocket
        self._screen = pyte.Screen(100, 30)
        self._stream = pyte.ByteStream(self._screen)
        self.told: list[str] = []
        self.closed = False

    @property
    def shown(self) -> str:
        return "\n".join(self._screen.display)

    async def sends(self, *messages: str) -> None:
        for text in messages:
            await self._websocket.send_str(text)

    async def press(self, keys: str) -> None:
        await self._websocket.send_json(["stdin", keys])

    async def sees(self, words: str, *, is_gone: bool = False) -> None:
        """Read until the screen shows this, or no longer does."""
        async with asyncio.timeout(PATIENCE):
            while (re.search(words, self.shown) is None) is not is_gone:
                await self._read()

    async def is_told(self, words: str) -> str:
        async with asyncio.timeout(PATIENCE):
            while not (found := [text for text in self.told if words in text]):
                await self._read()
        return found[0]

    async def is_closed(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not self.closed:
                await self._read()

    async def _read(self) -> None:
        assert not self.closed, self.shown
        message = await self._websocket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            self._stream.feed(message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            self.told.append(message.data)
        else:
            self.closed = True


@asynccontextmanager
async def browser(url: str, **headers: str) -> AsyncIterator[Browser]:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}ws?width=100&height=30", headers=headers) as websocket,
    ):
        yield Browser(websocket)


async def test_without_its_token_nothing_is_served(tmp_path: Path) -> None:
    with serving(tmp_path, "watch", JOURNAL) as (url, _):
        root = url[: url.index("/", 7) + 1]
        wrong = url.replace(url.split("/")[3], "x" * 32)
        async with aiohttp.ClientSession() as session:
            for address in (root, root + "static/js/textual.js", root + "download/1", wrong):
                async with session.get(address) as answer:
                    assert answer.status == 403
                    assert "token" in await answer.text()
            for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
                async with session.get(url, headers=headers) as answer:
                    assert answer.status == 403
            async with session.get(url) as answer:
                page = await answer.text()
                assert answer.headers["Referrer-Policy"] == "no-referrer"
            for loaded in re.findall(r'(?:src|href)="(static/[^"]+)"', page):
                async with session.get(url + loaded) as answer:
                    assert answer.status == 200
        for place, headers in ((root, {}), (wrong, {}), (url, {"Origin": "http://evil.example"})):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with browser(place, **headers):
                    pass
            assert refused.value.status == 403


async def test_a_journal_is_shown_and_saved_to_the_viewers_side(tmp_path: Path) -> None:
    with serving(tmp_path, JOURNAL) as (url, process):
        async with browser(url, Origin=url[: url.index("/", 7)]) as first:
            await first.sends("", "{", "7", "[]", '["stdin", 7]', '["resize", {"width": "x"}]')
            await first.sends('["resize", {"width": 1000000000, "height": -1}]')
            await first.sends('["resize", {"width": 100, "height": 30}]')
            await first.sees(r"explosion .* ended")
            await first.sees("closs  2.05")
            await first.press("c")
            await first.sees("read-only")
            await first.press("S")
            offered = re.search(r"download/\w+", await first.is_told("open_url"))
            assert offered is not None
            async with aiohttp.ClientSession() as session, session.get(url + offered[0]) as answer:
                assert answer.headers["Content-Disposition"].startswith("attachment")
                assert (await answer.text()).startswith("<svg")
            assert not list(tmp_path.glob("*.svg"))
            await first.press("q")
            await first.is_closed()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM


async def test_read_only_sends_no_command_and_allowing_commands_does(tmp_path: Path) -> None:
    place = tmp_path / "vla.sock"
    with training(place, run_dir=tmp_path / "run") as process:
        with serving(tmp_path, "--socket", str(place)) as (url, _):
            async with browser(url) as viewer:
                await viewer.sees("training")
                await viewer.press("crp")
                for key in ("m", ":"):
                    await viewer.press(key)
                    await viewer.sees("Esc closes")
                    await viewer.press("closs 2\r\x1b")
                    await viewer.sees("Esc closes", is_gone=True)
                await viewer.press("?")
                await viewer.sees("╭ keys ")
                assert "Write a checkpoint" not in viewer.shown
        with serving(tmp_path, "--allow-commands", "watch", "--socket", str(place)) as (url, _):
            async with browser(url) as viewer:
                await viewer.sees("training")
                await viewer.press("c")
                await viewer.sees("checkpoint.* done|done.*checkpoint")
        process.kill()
        assert process.stdout is not None
        assert process.stdout.read() == "checkpoint\n"  # the only command that it was given


async def test_dashboards_end_with_their_server_and_are_limited_in_number(tmp_path: Path) -> None:
    with serving(tmp_path, "--viewers", "1", "watch", JOURNAL) as (url, process):
        async with browser(url) as viewer:
            await viewer.sees("closs")
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                async with browser(url):
                    pass
            assert refused.value.status == 503
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                assert "at most 1 at once" in await answer.text()
            (dashboard,) = children(process.pid)
            process.kill()
            end = time.monotonic() + PATIENCE
            while Path(f"/proc/{dashboard}").exists():
                assert time.monotonic() < end
                await asyncio.sleep(0.05)


def children(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(number) for number in text.split()]


async def test_a_dashboard_that_cannot_start_says_why_in_the_browser(tmp_path: Path) -> None:
    journal = tmp_path / "gone.vlaj"
    journal.write_bytes(Path(JOURNAL).read_bytes())
    with serving(tmp_path, "watch", "gone.vlaj") as (url, _):
        journal.unlink()
        async with browser(url) as viewer:
            await viewer.sees("gone.vlaj")
            await viewer.sees("does not exist")
            await viewer.is_closed()


def test_a_log_is_followed_and_a_journal_opened_without_the_name_of_a_command(
    tmp_path: Path,
) -> None:
    log, pipe = tmp_path / "train.txt", tmp_path / "vla.sock"
    log.write_text("step 1 loss 2\n")
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(str(pipe))
        shown = {
            path: dashboard((*given, path), allow_commands=False)[4]
            for *given, path in ([str(log)], [str(tmp_path)], [JOURNAL], ["--socket", str(pipe)])
        }
    assert [*shown.values()] == ["tail", "tail", "watch", "watch"]
    assert dashboard(("--theme", "paper"), allow_commands=True)[4:] == ["watch", "--theme", "paper"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["watch", "nowhere.vlaj"], "nowhere.vlaj does not exist"),
        (["watch", "--nonsense"], "No such option"),
        (["tail", "-"], "a pipe cannot be served"),
        (["tail", "a.log", "--once"], "--once prints lines"),
        (["--json"], "--json prints lines"),
        (["--auto-rollback"], "only with --allow-commands"),
        (["watch", "--no-read-only"], "only with --allow-commands"),
        (["--public-url", "hub"], "is not a URL"),
        (["--listen", "nowhere"], "HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], "is not a port"),
    ],
)
def test_a_mistake_is_a_sentence_before_anything_is_served(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert run(["serve", "--listen", address, "watch", JOURNAL]) == 2
    assert capsys.readouterr().err == (
        f"vlamon: {address} cannot be served: Address already in use; "
        "choose another with --listen.\n"
    )


def test_without_the_extra_the_error_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in [name for name in sys.modules if name.startswith("vlamon.web")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    monkeypatch.setitem(sys.modules, "textual_serve.app_service", None)
    assert run(["serve", "watch", JOURNAL]) == 2
    assert "pip install 'vlamon[web]'" in capsys.readouterr().err


async def test_a_real_browser_draws_the_dashboard_and_types_without_a_click(tmp_path: Path) -> None:
    program = chromium()
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    with serving(tmp_path, "watch", JOURNAL) as (url, _):
        async with real_browser(program) as driven, asyncio.timeout(PATIENCE):
            tab = await driven.open(url)
            while await tab.value("document.activeElement.tagName") != "TEXTAREA":
                await asyncio.sleep(0.05)
            drawn = await tab.picture()
            while len(drawn) < 30_000:  # an empty page is a few kilobytes
                await asyncio.sleep(0.05)
                drawn = await tab.picture()
            await tab.press("c")  # the status line says that the dashboard gives no commands
            while await tab.picture() == drawn:
                await asyncio.sleep(0.05)
            assert not [said for said in driven.said if "WebGL" not in said]


def test_bytes_that_are_no_request_are_answered_and_print_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, JOURNAL) as (url, process):
        port, path = int(url.split(":")[2].partition("/")[0]), f"/{url.split('/', 3)[3]}"
        for hostile in (
            b"\x1b]0;title\x07" * 100,
            b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
            f"GET {path}static/%2e%2e/etc HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
            f"GET {path}static/{'a' * 5000} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(),
            f"GET {path} HTTP/1.1\r\nHost: evil@localhost\r\n\r\n".encode(),
            b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
                connection.sendall(hostile)
                assert re.match(rb"HTTP/1\.[01] 4\d\d ", connection.recv(100))
        for odd in (f"{path}?fontsize={'9' * 5000}", f"http://evil.example{path}"):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
                connection.sendall(f"GET {odd} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                answer = connection.recv(1000)
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert b"evil" not in answer
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE)[1]
    assert "Traceback" not in said
    assert "\x1b" not in said
