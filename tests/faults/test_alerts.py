"""Alerts go out from the training's own process: whatever the far end does, its numbers stay."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import Training


@contextlib.contextmanager
def tcp_server(answer: bytes | None) -> Iterator[int]:
    """The port of a server that says `answer` to everybody at once; None: it hangs."""
    held = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    held.append(connection)
                    if answer is not None:
                        connection.sendall(answer)
                        connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    for connection in held:
        connection.close()


@contextlib.contextmanager
def refusing() -> Iterator[int]:
    """A port that nobody listens at."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


SERVERS = {
    "hangs": lambda: tcp_server(None),
    "refuses": refusing,
    "garbage": lambda: tcp_server(b"\x00\xff\r\n\r\nSSH-2.0-nonsense" * 1000),
}


@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("channel", ["WEBHOOK", "MAIL"])
def test_a_bad_server_changes_no_number_and_costs_no_message(
    kind: str, channel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    alone = Training(tmp_path / "alone", "--explode-at", 20)
    with SERVERS[kind]() as port:
        scheme = "http" if channel == "WEBHOOK" else "smtp"
        monkeypatch.setenv(f"VLAMON_{channel}_URL", f"{scheme}://127.0.0.1:{port}")
        if channel == "MAIL":
            monkeypatch.setenv("VLAMON_MAIL_TO", "me@here")
        monkeypatch.setenv("VLAMON_ALERT", "1")
        training = Training(tmp_path / "told", "--run-dir", tmp_path / "run", "--explode-at", 20)
        assert training.digest() == alone.digest()
    waiting = list((tmp_path / "state" / "vlamon" / "alerts").glob("*.json"))
    assert len(waiting) == 2, "the explosion and the end wait for the next process"
