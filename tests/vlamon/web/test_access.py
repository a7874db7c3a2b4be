"""Who is let in to the dashboard in a browser."""

from __future__ import annotations

import pytest

from vlamon.web.access import WRONG_HOST, WRONG_ORIGIN, WRONG_TOKEN, AccessRules, new_token
from vlamon.web.page import page

HERE = "127.0.0.1:8484"


@pytest.mark.parametrize("path", ["/secret", "/secret/", "/secret/ws", "/secret/static/js/a.js"])
def test_the_token_opens_everything_below_it(path: str) -> None:
    assert AccessRules("secret").refusal(path, HERE, None) == ""


@pytest.mark.parametrize(
    "path", ["/", "", "/ws", "/static/js/a.js", "/secre/", "/secrets/", "/é/", "/\udcff/"]
)
def test_nothing_opens_without_it(path: str) -> None:
    assert AccessRules("secret").refusal(path, HERE, None) == WRONG_TOKEN


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8484",
        "127.0.0.1.evil",
        "",
        None,
        "[",
        "evil@localhost",
        "localhost; script-src *",
        "localhost\x00",
    ],
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(host: str | None) -> None:
    assert AccessRules("t").refusal("/t/", host, None) == WRONG_HOST


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:8484", "LOCALHOST:1"])
def test_a_forwarded_port_may_have_another_number(host: str) -> None:
    assert AccessRules("t").refusal("/t/", host, f"http://{host}") == ""


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9", "["])
def test_another_sites_page_is_refused_even_with_the_token(origin: str) -> None:
    assert AccessRules("t").refusal("/t/ws", HERE, origin) == WRONG_ORIGIN


def test_beyond_loopback_addresses_and_own_names_are_known() -> None:
    access = AccessRules("t", loopback=False, names=frozenset({"node17"}))
    for host in ("10.0.0.7:8484", "node17:8484", "localhost:8484"):
        assert access.refusal("/t/", host, None) == ""
    assert access.refusal("/t/", "node18:8484", None) == WRONG_HOST
    assert AccessRules("t").refusal("/t/", "10.0.0.7:8484", None) == WRONG_HOST


def test_behind_a_proxy_its_address_is_ours() -> None:
    access = AccessRules("t", public_url="https://Hub.example/user/x/proxy/8484/")
    assert access.refusal("/t/ws", "hub.example", "https://hub.example") == ""
    assert access.refusal("/t/ws", HERE, "https://hub.example") == ""
    assert access.refusal("/t/ws", HERE, "http://hub.example") == WRONG_ORIGIN
    assert access.page_url(HERE) == "https://Hub.example/user/x/proxy/8484/t/"


def test_no_two_tokens_are_alike_and_none_is_shown_by_accident() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert "secret" not in repr(AccessRules("secret"))


def test_the_page_loads_nothing_from_elsewhere_and_escapes_its_title() -> None:
    text, headers = page('<script>"', "https://hub/p/t/", 14)
    assert "https:" not in text
    assert "wss://hub/p/t/ws" in text
    assert "&lt;script&gt;" in text
    assert "wss://hub/p/t/ws" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
