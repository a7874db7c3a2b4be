"""One POST, with time limits, and an answer that was read: what the HTTP channels share."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from vlamon.alerts.as_json import as_json
from vlamon.alerts.channels.deadline import Deadline
from vlamon.safe_text import line

TIMEOUT = 10.0
"""Seconds until a server that says nothing has failed."""
LONGEST_ANSWER = 64 * 1024
ABOUT_THE_MESSAGE = (400, 413, 414, 415, 422)
"""Codes that find fault with what was sent; all others are about the server or the sender."""


class ChannelError(Exception):
    """Why a message was not accepted, in one line; never holds a secret."""

    def __init__(self, reason: str) -> None:
        super().__init__(line(reason))


class MessageRefused(ChannelError):
    """The server does not take this message; it may take another."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token of the URL to a server that the user did not choose."""

    def redirect_request(self, *args: Any) -> None:
        return None


class _Held(http.client.HTTPConnection):
    """A connection that its deadline can cut, also while TLS is agreed on."""

    deadline: Deadline

    def connect(self) -> None:
        super().connect()
        self.deadline.hold(self.sock)


class _HeldTLS(http.client.HTTPSConnection, _Held):
    """The same below TLS: `HTTPSConnection.connect` calls the one above before it wraps."""


class _HeldHandler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Opens connections that the deadline holds."""

    def __init__(self, deadline: Deadline) -> None:
        urllib.request.HTTPSHandler.__init__(self)
        self._deadline = deadline

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._made(_Held), request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(self._made(_HeldTLS), request)

    def _made(self, kind: type[_Held]) -> Any:
        def made(host: str, **options: Any) -> _Held:
            connection = kind(host, **options)
            connection.deadline = self._deadline
            return connection

        return made


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    timeout: float = TIMEOUT,
) -> bytes:
    """The answer's body; ChannelError for anything but a 2xx."""
    if not url.startswith(("http://", "https://")):
        raise ChannelError("its URL does not begin with http:// or https://")
    with Deadline() as deadline:
        try:
            request = urllib.request.Request(url, body, dict(headers), method="POST")
            opener = urllib.request.build_opener(_NoRedirect, _HeldHandler(deadline))
            with opener.open(request, timeout=timeout) as answer:
                return bytes(answer.read(LONGEST_ANSWER))
        except urllib.error.HTTPError as error:
            kind = MessageRefused if error.code in ABOUT_THE_MESSAGE else ChannelError
            raise kind(f"the server answered {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            if deadline.passed:
                raise ChannelError(f"no whole answer within {deadline.seconds:g} s") from None
            if isinstance(error, ValueError | http.client.InvalidURL):
                # Python quotes the host, the path or the header that it does not take.
                raise ChannelError(
                    "its URL or token cannot be sent: look for blanks in it"
                ) from None
            reason = getattr(error, "reason", error)
            raise ChannelError(f"the server cannot be reached: {reason}") from None


def post_json(url: str, document: Any, headers: Mapping[str, str] | None = None) -> Any:
    """POST a JSON document; the answer as JSON, or None where it is none."""
    body = as_json(document)
    answer = post(url, body, {"Content-Type": "application/json; charset=utf-8", **(headers or {})})
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        return None


def accepted(answer: Any, field: str) -> None:
    """Messengers answer 200 to what they refuse: `field` of their JSON is 0 or they did."""
    if not isinstance(answer, dict) or answer.get(field) not in (0, "0"):
        said = answer if isinstance(answer, dict) else {}
        why = said.get("msg") or said.get("errmsg") or "an answer without a code"
        raise ChannelError(f"the server refused it: {why}")
