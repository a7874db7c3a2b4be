"""Servers, programs and disks that alerts meet and that mean no good: every exchange ends, no error
shows a secret, and no message holds up those behind it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vlamon.alerts.alerts import alert
from tests.vlamon.alerts.servers import http_server
from vlamon.alerts import delivery as delivery_module
from vlamon.alerts.channels import Channel, deadline
from vlamon.alerts.channels import command as command_channel
from vlamon.alerts.channels.http import ChannelError, MessageRefused
from vlamon.alerts.message import Message, message
from vlamon.alerts.outbox import Outbox
from vlamon.alerts.sender import AlertSender
from vlamon.alerts.settings import AlertSettingsError, load_settings

TOLD = message(alert())
SECRET = "s3cr3t-0f-ours"


@contextlib.contextmanager
def raw_server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that does this to each who connects."""
    held: list[socket.socket] = []

    def each(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            serve(connection)

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    held.append(connection)
                    threading.Thread(target=each, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    for connection in held:
        connection.close()


def channel(kind: str, monkeypatch: pytest.MonkeyPatch, **given: str) -> Channel:
    """The channel as settings make it."""
    monkeypatch.setenv("VLAMON_ALERTS", "/proc/none")
    environment = {f"VLAMON_{kind}_{key}".upper(): value for key, value in given.items()}
    return load_settings(None, environment).channels[kind]


# ---- secrets ----


def echo(connection: socket.socket) -> None:
    """Quote the request in the reason, as some proxies do."""
    first = connection.recv(65536).split(b"\r\n")[0].replace(b"%20", b" ")
    connection.sendall(b"HTTP/1.1 500 no such place: " + first * 50 + b"\r\n\r\n")
    connection.close()


def refuse_in_words(connection: socket.socket) -> None:
    """Answer as a messenger that quotes what it was asked for."""
    path = connection.recv(65536).split(b" ")[1]
    answer = json.dumps({"errcode": 40001, "errmsg": f"{'x' * 190}{path.decode()}"}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(answer)}\r\n\r\n".encode()
    connection.sendall(head + answer)
    connection.close()


@pytest.mark.parametrize("serve", [echo, refuse_in_words])
@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("slack", {"url": "http://127.0.0.1:{port}/services/" + SECRET}),
        ("webhook", {"url": "http://127.0.0.1:{port}/a b/" + SECRET}),
        ("webhook", {"url": "http://127.0.0.1:{port}/", "token": SECRET + "\n"}),
        ("webhook", {"url": "http://me:" + SECRET + "@127.0.0.1:{port}/"}),
        ("webhook", {"url": "http://127.0.0.1:" + SECRET + "/"}),
        ("dingtalk", {"url": "http://127.0.0.1:{port}/send?access_token=" + SECRET}),
        ("wecom", {"url": "http://127.0.0.1:{port}/send?key=" + SECRET}),
        ("telegram", {"token": f"123:{SECRET}", "chat": "4", "url": "http://127.0.0.1:{port}"}),
        ("ntfy", {"url": "http://127.0.0.1:{port}/t", "token": SECRET + "損"}),
    ],
)
def test_no_error_shows_a_secret_whatever_a_server_or_library_quotes(
    kind: str,
    given: dict[str, str],
    serve: Callable[[socket.socket], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with raw_server(serve) as port:
        made = channel(
            kind,
            monkeypatch,
            **{key: value.replace("{port}", str(port)) for key, value in given.items()},
        )
        try:
            made.send(TOLD)
        except ChannelError as error:
            said = str(error)
        else:
            said = ""
    assert SECRET[:8] not in said
    assert len(said) < 400


def test_an_error_is_one_short_line_without_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    def paint(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 500 \x1b]0;owned\x07\x1b[2J" + b"A" * 60_000 + b"\r\n\r\n")
        connection.close()

    with raw_server(paint) as port:
        made = channel("webhook", monkeypatch, url=f"http://127.0.0.1:{port}/")
        with pytest.raises(ChannelError, match="500") as refused:
            made.send(TOLD)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) <= 300


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("mail", {"url": f"smtp://me@host:{SECRET}", "to": "a@b"}),
        ("mail", {"url": f"smtp://me:{SECRET}@[host", "to": "a@b"}),
        ("ntfy", {"url": f"https://[{SECRET}"}),
    ],
)
def test_an_address_that_is_none_is_a_sentence_without_it(
    kind: str, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AlertSettingsError, match="not an address") as wrong:
        channel(kind, monkeypatch, **given)
    assert SECRET not in str(wrong.value)


# ---- exchanges that never end ----


def drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"2")
        time.sleep(0.02)


def forever(data: bytes) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536) if data.startswith(b"HTTP") else None
        while True:
            connection.sendall(data * 100)

    return serve


HOSTILE: dict[str, tuple[str, Callable[[socket.socket], None]]] = {
    "a byte now and then": ("webhook", drip),
    "continue, for ever": ("webhook", forever(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "headers without an end": ("webhook", forever(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 60_000)),
    "mail: a byte now and then": ("mail", drip),
    "mail: an answer without an end": ("mail", forever(b"220-still here\r\n")),
    "mail: a line without an end": ("mail", forever(b"2" * 70_000)),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_every_exchange_ends(attack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "LONGEST", 0.5)
    kind, serve = HOSTILE[attack]
    with raw_server(serve) as port:
        scheme, to = ("smtp", {"to": "me@here"}) if kind == "mail" else ("http", {})
        made = channel(kind, monkeypatch, url=f"{scheme}://127.0.0.1:{port}", **to)
        with pytest.raises(ChannelError):
            made.send(TOLD)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
@pytest.mark.parametrize("scheme", ["smtps"])
def test_a_password_goes_to_no_server_that_cannot_prove_who_it_is(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mail server of the same name in the middle, with a certificate of its own making."""
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=mail.lab",
         "-keyout", key, "-out", certificate, "-days", "1"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    heard: list[bytes] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as talk:
            talk.sendall(b"220 mail.lab\r\n")
            while data := talk.recv(4096):
                heard.append(data)
                talk.sendall(b"250-mail.lab\r\n250 AUTH PLAIN\r\n")

    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **named: resolve("127.0.0.1", *rest, **named)
    )
    with raw_server(serve) as port:
        address = f"{scheme}://me@mail.lab:{port}"
        made = channel("mail", monkeypatch, url=address, to="me@lab", password=SECRET)
        with pytest.raises(ChannelError, match="certificate"):
            made.send(TOLD)
    assert heard == []


# ---- programs ----


def test_a_command_that_talks_for_ever_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    made = channel(
        "command", monkeypatch, run="head -c 50000000 /dev/zero >&2; echo end >&2; exit 4"
    )
    tracemalloc.start()
    try:
        with pytest.raises(ChannelError, match=r"exited with 4: .*end"):
            made.send(TOLD)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_a_command_that_hangs_is_killed_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command_channel, "TIMEOUT", 1.0)
    made = channel("command", monkeypatch, run=f"sleep 300 & echo $! > {tmp_path}/pid; wait")
    with pytest.raises(ChannelError, match="did not end"):
        made.send(TOLD)
    child = int((tmp_path / "pid").read_text())
    end = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and _state(child) != "Z":
        assert time.monotonic() < end, "it goes on"
        time.sleep(0.02)


def _state(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return "Z"


def test_a_command_need_not_read_its_input(monkeypatch: pytest.MonkeyPatch) -> None:
    channel("command", monkeypatch, run="exec true").send(
        message(alert(data={"long": "x" * 200_000}))
    )


# ---- what is sent ----


def test_values_that_json_lacks_are_texts_for_servers_and_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The value of an explosion is NaN more often than not."""

    def no_constant(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    told = message(alert(data={"value": float("nan"), "ratio": float("inf")}, run="a\udc80b"))
    channel("command", monkeypatch, run=f"cat > {tmp_path}/got").send(told)
    document = json.loads((tmp_path / "got").read_bytes(), parse_constant=no_constant)
    assert document["data"] == {"value": "nan", "ratio": "inf"}
    with http_server() as server:
        channel("webhook", monkeypatch, url=server.url).send(told)
        ((_, _, document),) = server.requests
    assert document["data"] == {"value": "nan", "ratio": "inf"}
    assert document["run"] == "a?b"


@pytest.mark.parametrize("when", [1e300, -1e300, float("inf"), 1e18])
def test_a_time_that_no_clock_shows_costs_no_alert(when: float) -> None:
    assert "?" in message(alert(time=when)).body


# ---- the queue ----


class Recorder:
    """A channel that refuses some messages, or all."""

    def __init__(self, refuses: Callable[[Message], bool] = lambda told: False) -> None:
        self.refuses = refuses
        self.away = False
        self.taken: list[str] = []
        self.tries = 0

    def send(self, told: Message) -> None:
        self.tries += 1
        if self.away:
            raise ChannelError("away")
        if self.refuses(told):
            raise MessageRefused("the server answered 400 Bad Request")
        self.taken.append(told.id)

    def wait_for(self, count: int) -> list[str]:
        end = time.monotonic() + 30
        while len(self.taken) < count and time.monotonic() < end:
            time.sleep(0.01)
        return self.taken


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery_module, "FIRST_RETRY", 0.05)


@pytest.mark.usefixtures("quick")
def test_a_message_that_is_refused_for_ever_holds_none_up(tmp_path: Path) -> None:
    made = Recorder(refuses=lambda told: told.id == "boot-0")
    sender = AlertSender({"slack": made}, tmp_path)
    for number in range(4):
        sender.put(alert(number))
    assert made.wait_for(3) == ["boot-1", "boot-2", "boot-3"]
    sender.put(alert(4))
    assert made.wait_for(4)[-1] == "boot-4"
    sender.close()
    assert [found.message.id for found in Outbox(tmp_path).waiting()] == ["boot-0"]


@pytest.mark.usefixtures("quick")
def test_a_channel_that_refuses_all_is_not_hammered(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    for number in range(50):
        box.put("slack", message(alert(number)))
    made = Recorder(refuses=lambda told: True)
    sender = AlertSender({"slack": made}, tmp_path)
    time.sleep(0.3)
    sender.close()
    assert made.tries <= 15
    assert len(list(Outbox(tmp_path).waiting())) == 50


CALLS = ("open", "flock", "unlink")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.EROFS, errno.EMFILE, errno.ENOSPC])
@pytest.mark.parametrize("call", CALLS)
def test_a_disk_that_fails_after_a_message_was_kept_costs_none_and_repeats_none(
    call: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Outbox(tmp_path)
    box.put("slack", message(alert(0)))
    real_open, real_unlink = os.open, os.unlink

    def fails(*arguments: Any, **named: Any) -> Any:
        raise OSError(code, os.strerror(code))

    def opened(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        if str(path).startswith(str(tmp_path)) and flags & os.O_RDWR:
            fails()
        return real_open(path, flags, *rest, **named)

    def unlinked(path: Any, **named: Any) -> None:
        if str(path).startswith(str(tmp_path)) and path.name[0] != ".":
            fails()
        real_unlink(path, **named)

    if call == "open":
        monkeypatch.setattr(os, "open", opened)
    elif call == "flock":
        monkeypatch.setattr("vlamon.alerts.outbox.fcntl.flock", fails)
    else:
        monkeypatch.setattr(os, "unlink", unlinked)
    made = Recorder()
    sender = AlertSender({"slack": made}, tmp_path)
    assert made.wait_for(1) == ["boot-0"]
    sender.put(alert(1))
    assert made.wait_for(2) == ["boot-0", "boot-1"]
    time.sleep(0.2)
    sender.close()
    assert made.taken == ["boot-0", "boot-1"]


def test_a_message_that_cannot_be_read_just_now_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Outbox(tmp_path)
    box.put("slack", message(alert(0)))

    def fails(path: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", fails)
        patch.setattr(Path, "read_text", fails)
        assert list(box.waiting()) == []
    assert [found.message.id for found in box.waiting()] == ["boot-0"]


def test_a_kill_between_the_server_and_the_disk_sends_a_message_again_and_loses_none(
    tmp_path: Path,
) -> None:
    """At least once: the id is the same, so that a receiver can tell."""
    box = Outbox(tmp_path)
    for number in range(3):
        box.put("slack", message(alert(number)))
    child = os.fork()
    if child == 0:

        class Dies(Recorder):
            def send(self, told: Message) -> None:
                if told.id == "boot-1":
                    os._exit(9)  # accepted over there, and not yet removed here

        AlertSender({"slack": Dies()}, tmp_path)
        time.sleep(30)
        os._exit(0)
    os.waitpid(child, 0)
    made = Recorder()
    sender = AlertSender({"slack": made}, tmp_path)
    assert made.wait_for(2) == ["boot-1", "boot-2"]
    sender.close()


def test_two_processes_share_a_backlog_and_send_each_message_once(tmp_path: Path) -> None:
    box = Outbox(tmp_path)
    for number in range(40):
        box.put("slack", message(alert(number)))

    class Appends(Recorder):
        def send(self, told: Message) -> None:
            with (tmp_path / f"sent-{os.getpid()}").open("a") as log:
                log.write(f"{told.id}\n")
            time.sleep(0.002)

    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                sender = AlertSender({"slack": Appends()}, tmp_path)
                end = time.monotonic() + 30
                while list(Outbox(tmp_path).waiting()) and time.monotonic() < end:
                    time.sleep(0.01)
                sender.close()
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    sent = [line for path in tmp_path.glob("sent-*") for line in path.read_text().split()]
    assert sorted(sent) == sorted(f"boot-{number}" for number in range(40))
