"""One POST, with a time limit, and an answer that was read: what the HTTP channels share."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

TIMEOUT = 10.0
"""Seconds until a server that says nothing has failed."""
LONGEST_ANSWER = 64 * 1024


class ChannelError(Exception):
    """Why a message was not accepted; never holds a secret."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token of the URL to a server that the user did not choose."""

    def redirect_request(self, *args: Any) -> None:
        return None


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    timeout: float = TIMEOUT,
) -> bytes:
    """The answer's body; ChannelError for anything but a 2xx."""
    if not url.startswith(("http://", "https://")):
        raise ChannelError("its URL does not begin with http:// or https://")
    request = urllib.request.Request(url, body, dict(headers), method="POST")
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=timeout) as answer:
            return bytes(answer.read(LONGEST_ANSWER))
    except urllib.error.HTTPError as error:
        raise ChannelError(f"the server answered {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ChannelError(f"the server cannot be reached: {reason}") from None


def post_json(url: str, document: Any, headers: Mapping[str, str] | None = None) -> Any:
    """POST a JSON document; the answer as JSON, or None where it is none."""
    body = json.dumps(document, ensure_ascii=False).encode()
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
        raise ChannelError(f"the server refused it: {str(why)[:200]}")
