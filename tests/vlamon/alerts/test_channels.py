"""Each channel against a real server on loopback: what it sends, and what it makes of refusals."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from aiosmtpd.controller import Controller

from tests.vlamon.alerts.alerts import alert
from tests.vlamon.alerts.servers import Http, http_server
from vlamon.alerts.channels import KINDS
from vlamon.alerts.channels.command import CommandLine
from vlamon.alerts.channels.dingtalk import DingTalk
from vlamon.alerts.channels.feishu import Feishu
from vlamon.alerts.channels.http import ChannelError, post
from vlamon.alerts.channels.mail import Mail
from vlamon.alerts.channels.slack import Slack
from vlamon.alerts.message import message

TOLD = message(alert())
HTTP = {
    "dingtalk": ({"url": "{}/robot/send?access_token=t"}, "/robot/send?access_token=t"),
    "discord": ({"url": "{}/hook"}, "/hook"),
    "feishu": ({"url": "{}/hook"}, "/hook"),
    "ntfy": ({"url": "{}/topic"}, "/"),
    "slack": ({"url": "{}/hook"}, "/hook"),
    "telegram": ({"token": "T", "chat": "42", "url": "{}"}, "/botT/sendMessage"),
    "webhook": ({"url": "{}/any", "token": "s3"}, "/any"),
    "wecom": ({"url": "{}/send?key=k"}, "/send?key=k"),
}


@pytest.mark.parametrize("kind", sorted(HTTP))
def test_the_message_arrives_where_the_service_expects_it(kind: str) -> None:
    settings, path = HTTP[kind]
    with http_server() as server:
        channel = KINDS[kind]({key: value.format(server.url) for key, value in settings.items()})
        channel.send(TOLD)
        ((came_to, _, document),) = server.requests
    assert came_to == path
    assert TOLD.title in json.dumps(document, ensure_ascii=False)
    assert "11× the median" in json.dumps(document, ensure_ascii=False)


@pytest.mark.parametrize("kind", sorted(HTTP))
def test_a_refusal_is_an_error_that_names_no_secret(kind: str) -> None:
    settings, _ = HTTP[kind]
    with http_server() as server:
        server.code = 403
        channel = KINDS[kind]({key: value.format(server.url) for key, value in settings.items()})
        with pytest.raises(ChannelError, match="403") as refused:
            channel.send(TOLD)
    assert server.url not in str(refused.value)


@pytest.mark.parametrize("kind", ["feishu", "dingtalk", "wecom", "telegram"])
@pytest.mark.parametrize("answer", [b'{"code": 19021, "errcode": 310000}', b"<html>", b"[]"])
def test_a_200_that_says_no_is_a_refusal(kind: str, answer: bytes) -> None:
    settings, _ = HTTP[kind]
    with http_server() as server:
        server.answer = answer
        channel = KINDS[kind]({key: value.format(server.url) for key, value in settings.items()})
        with pytest.raises(ChannelError):
            channel.send(TOLD)


def test_feishus_and_dingtalks_signatures_are_theirs() -> None:
    with http_server() as server:
        Feishu(server.url + "/hook", "key").send(TOLD)
        DingTalk(server.url + "/send?access_token=t", "key").send(TOLD)
        (_, _, feishu), (path, _, _) = server.requests
    signed = f"{feishu['timestamp']}\nkey"
    expected = hmac.new(signed.encode(), b"", hashlib.sha256).digest()
    assert base64.b64decode(feishu["sign"]) == expected
    query = parse_qs(urlsplit(path).query)
    signed = f"{query['timestamp'][0]}\nkey"
    expected = hmac.new(b"key", signed.encode(), hashlib.sha256).digest()
    assert base64.b64decode(query["sign"][0]) == expected


def test_a_redirect_is_not_followed_with_the_secret() -> None:
    with http_server() as server:
        server.code = 302
        with pytest.raises(ChannelError, match="302"):
            Slack(server.url + "/secret").send(TOLD)
    assert [path for path, _, _ in server.requests] == ["/secret"]


def test_a_server_that_hangs_garbles_or_is_not_there_is_a_sentence() -> None:
    with http_server() as server:
        server.hang = 1.0
        with pytest.raises(ChannelError, match="cannot be reached"):
            post(server.url, b"{}", {}, timeout=0.2)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(ChannelError, match="cannot be reached"):
        Slack(f"http://127.0.0.1:{port}").send(TOLD)
    with pytest.raises(ChannelError, match="http://"):
        Slack("file:///etc/passwd").send(TOLD)


def test_slack_gets_no_markup_and_no_mention_from_a_name() -> None:
    with http_server() as server:
        Slack(server.url).send(message(alert(run="<!channel> & co")))
        ((_, _, document),) = server.requests
    assert document["text"].startswith("&lt;!channel&gt; &amp; co")


def test_a_command_gets_the_alert_as_json_and_its_failure_is_reported(tmp_path: Path) -> None:
    CommandLine(f"cat > {tmp_path}/got").send(TOLD)
    document = json.loads((tmp_path / "got").read_text())
    assert (document["kind"], document["step"], document["data"]["value"]) == (
        "explosion", 39_210, 95.2,
    )  # fmt: skip
    with pytest.raises(ChannelError, match="exited with 3: no luck"):
        CommandLine("echo no luck >&2; exit 3").send(TOLD)


class Inbox:
    """An SMTP server's mailbox."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        self.mails.append(envelope.content)  # type: ignore[attr-defined]
        return "250 OK"


def test_mail_arrives_whole_with_one_subject() -> None:
    inbox = Inbox()
    controller = Controller(inbox, hostname="127.0.0.1", port=_free_port())
    controller.start()
    try:
        told = message(alert(run="run\r\nBcc: evil@example.org", text="损失爆炸"), "zh")
        Mail(f"smtp://127.0.0.1:{controller.port}", "me@example.org", "vlamon@node").send(told)
    finally:
        controller.stop()
    from email import message_from_bytes, policy

    (content,) = inbox.mails
    mail = message_from_bytes(content, policy=policy.default)
    assert mail["To"] == "me@example.org"
    assert mail["Bcc"] is None
    assert "损失爆炸" in mail["Subject"]
    assert "损失爆炸" in mail.get_content()


def test_a_mail_server_that_refuses_or_is_not_there_is_a_sentence() -> None:
    class Refusing(Inbox):
        async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
            return "554 no"

    controller = Controller(Refusing(), hostname="127.0.0.1", port=_free_port())
    controller.start()
    try:
        with pytest.raises(ChannelError, match="554"):
            Mail(f"smtp://127.0.0.1:{controller.port}", "me@example.org").send(TOLD)
    finally:
        controller.stop()
    with pytest.raises(ChannelError):
        Mail(f"smtp://127.0.0.1:{controller.port}", "me@example.org").send(TOLD)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_every_channel_is_tested_here() -> None:
    assert set(KINDS) == {*HTTP, "command", "mail"}


def test_a_server_of_garbage_is_a_refusal_not_a_traceback() -> None:
    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        connection.recv(65536)
        connection.sendall(b"\x00\xff garbage\r\n\r\n")
        connection.close()

    import threading

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        known = Http(url=f"http://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(ChannelError, match="cannot be reached"):
            Slack(known.url).send(TOLD)
        thread.join()
