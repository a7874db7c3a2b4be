"""What comes from elsewhere is shown, never obeyed."""

from __future__ import annotations

import json
import re
from html import unescape

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlamon import safe_text
from vlamon.views.json_lines import json_bytes

OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Everything that a terminal or a reader's eye could obey instead of show."""

hostile = st.text(
    st.one_of(
        st.sampled_from("\x1b\x07\x9b\x9d\x9c\u202e\u2066\u2069\u2028\n\r\t=+-@|<>&`*_[]#\\'\""),
        st.characters(),
    )
)


@given(hostile)
def test_a_line_is_one_line_without_a_character_that_is_obeyed(text: str) -> None:
    assert not OBEYED.search(safe_text.line(text))


@pytest.mark.parametrize(
    "text", ["closs", "l1_loss_action_7", "损失", "λ·∇", "x\u3000y", "12\u00a0%"]
)
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    assert safe_text.line(text) == text
    assert safe_text.markdown(text) == text


@pytest.mark.parametrize(
    "evil",
    [
        "\x1b]52;c;ZXZpbA==\x07",
        "\x9b2J",
        "\x1b]0;owned\x1b\\",
        "a\u202egnp.exe",
        "one\ntwo\r\nthree",
    ],
)
def test_known_attacks_lose_what_makes_them_work(evil: str) -> None:
    assert not OBEYED.search(safe_text.line(evil))


@given(hostile)
def test_json_reads_back_exactly_and_shows_nothing_that_is_obeyed(text: str) -> None:
    encoded = json_bytes({"name": text, text: 1.5})

    assert not OBEYED.search(encoded.decode().rstrip("\n"))
    kept = text.encode("utf-8", "replace").decode()
    assert orjson.loads(encoded) == json.loads(encoded) == {"name": kept, kept: 1.5}


@given(hostile)
def test_markdown_has_no_raw_html_and_no_free_bar(text: str) -> None:
    shown = safe_text.markdown(text)

    assert not OBEYED.search(shown)
    assert "<" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", shown)
    assert unescape(re.sub(r"\\([^A-Za-z0-9\s])", r"\1", shown)).count("<") == text.count("<")


@pytest.mark.parametrize("begin", ["# big", "- item", "+ item", "1. item", "---", "==="])
def test_markdown_at_the_start_of_a_line_stays_text(begin: str) -> None:
    assert safe_text.markdown(begin) != begin
    assert safe_text.markdown(begin).replace("\\", "") == begin


@given(hostile)
def test_html_is_text_alone(text: str) -> None:
    shown = safe_text.html_text(text)

    assert not OBEYED.search(shown)
    assert not set(shown) & set("<>\"'")
    assert unescape(shown) == safe_text.line(text)


@given(hostile)
def test_no_text_cell_is_a_formula(text: str) -> None:
    cell = safe_text.csv_text(text)

    assert not OBEYED.search(cell)
    assert not cell.lstrip().startswith(tuple("=+-@＝＋－＠"))
