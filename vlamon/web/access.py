"""Who is let in: the token of the address, and protection against other sites' pages."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass, field
from urllib.parse import urlsplit

WRONG_TOKEN = (
    "The address needs the token that `vlamon serve` printed when it started; "
    "each start has another one."
)
WRONG_HOST = (
    "This server is not known under that name; `vlamon serve --public-url URL` tells it the "
    "address that a proxy gives it."
)
WRONG_ORIGIN = "Another site's page may not open a dashboard."
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]+")
"""What a Host header may consist of: it is a part of the page."""


def new_token() -> str:
    """A token that cannot be guessed, in characters that need no escape in a URL."""
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The rules for one server.

    The token is a part of the path and no cookie: browsers send a cookie to every port of a host,
    so one would be shown to whatever else listens on this machine.
    """

    token: str = field(repr=False)
    loopback: bool = True
    """Whether the server listens on loopback alone."""
    public_url: str = ""
    """The address that a proxy in front of the server gives it, without the token."""
    names: frozenset[str] = frozenset()
    """Names of this machine, under which a server beyond loopback may be addressed."""

    def refusal(self, path: str, host: str | None, origin: str | None) -> str:
        """Why a request is refused, empty where it is not."""
        if not self._knows(host):
            return WRONG_HOST
        if origin is not None and not self._is_own(origin, host or ""):
            return WRONG_ORIGIN
        given = path.removeprefix("/").partition("/")[0]
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode()):
            return WRONG_TOKEN
        return ""

    def page_url(self, host: str, scheme: str = "http") -> str:
        """The dashboard's address as a browser sees it that sent this Host header."""
        base = self.public_url.rstrip("/") or f"{scheme}://{host}"
        return f"{base}/{self.token}/"

    def _knows(self, host: str | None) -> bool:
        """DNS rebinding needs a name of the attacker's: addresses and our own names are none."""
        name = _hostname(f"//{host}")
        if not name or not _HOST.fullmatch(host or ""):
            return False
        if name == "localhost" or name in self.names:
            return True
        if self.public_url and name == _hostname(self.public_url):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self.loopback

    def _is_own(self, origin: str, host: str) -> bool:
        if self.public_url and origin.lower() == _origin(self.public_url):
            return True
        return _netloc(origin) == host.lower()


def own_names() -> frozenset[str]:
    """The names by which other machines may know this one."""
    return frozenset(name.lower() for name in (socket.gethostname(), socket.getfqdn()) if name)


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _origin(url: str) -> str:
    return f"{urlsplit(url).scheme}://{_netloc(url)}"
