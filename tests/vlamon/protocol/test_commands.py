"""The table of commands: arguments in their types and ranges, mistakes refused in a sentence."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vlamon.protocol.commands import COMMANDS, SETTINGS, CommandError, checked, make


@pytest.mark.parametrize(
    ("name", "args", "found"),
    [
        ("checkpoint", {}, {}),
        ("checkpoint", {"reason": "before a reboot"}, {"reason": "before a reboot"}),
        ("rollback", {"to": 40.0, "exact": True}, {"to": 40, "exact": True}),
        ("rollback", {"to": None, "event": ""}, {}),
        ("rollback", {"data": "replay"}, {"data": "replay"}),
        ("set", {"name": "lr_scale", "value": "0.5"}, {"name": "lr_scale", "value": 0.5}),
        ("set", {"name": "guard", "value": "ask"}, {"name": "guard", "value": "ask"}),
        ("set", {"name": "z_loss", "value": 0}, {"name": "z_loss", "value": 0.0}),
        ("note", {"text": "lr halved"}, {"text": "lr halved"}),
    ],
)
def test_arguments_come_out_in_their_types(
    name: str, args: dict[str, Any], found: dict[str, Any]
) -> None:
    assert checked(name, args) == found


@pytest.mark.parametrize(
    ("name", "args", "sentence"),
    [
        ("explode", {}, "there is no command 'explode'; there are checkpoint, rollback"),
        ("pause", {"to": 3}, "pause takes no argument 'to'"),
        ("rollback", {"to": math.inf}, "rollback to inf: a step is a whole number"),
        ("rollback", {"to": -1}, "steps count from 0"),
        ("rollback", {"data": "eat"}, "choose skip or replay"),
        ("rollback", {"exact": 1}, "exact must be true or false"),
        ("set", {"name": "lr_scale", "value": 1e308}, "lr_scale must be a number from 1e-06 to"),
        ("set", {"name": "lr_scale", "value": 0}, "lr_scale must be a number from"),
        ("set", {"name": "closs", "value": "nan"}, "closs must be a number from 0"),
        ("set", {"name": "guard", "value": "maybe"}, "choose one of auto, ask, watch, off"),
        ("set", {"name": "closs"}, "set needs a value"),
        ("note", {}, "note needs a text"),
        ("note", {"text": 3}, "text must be a text"),
    ],
)
def test_a_mistake_is_one_sentence(name: str, args: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CommandError) as raised:
        checked(name, args)
    assert sentence in str(raised.value)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from([*COMMANDS, "act"]) | st.text(),
    st.dictionaries(
        st.sampled_from(["to", "data", "event", "exact", "name", "value", "text"]) | st.text(),
        ANYTHING | st.sampled_from([*SETTINGS, "auto", "9" * 5000]),
    ),
)
def test_nothing_but_a_command_error_comes_of_any_arguments(
    name: str, args: dict[str, Any]
) -> None:
    with contextlib.suppress(CommandError):
        found = checked(name, args)
        assert checked(name, found) == found


def test_every_command_is_new() -> None:
    assert make("pause").id != make("pause").id


def test_the_documentation_lists_every_command_with_its_arguments_and_ranges() -> None:
    page = (Path(__file__).parents[3] / "docs" / "wire.md").read_text()
    rows = {row.split("`")[1]: row for row in page.splitlines() if row.startswith("| `")}
    for name, spec in COMMANDS.items():
        for argument in spec.arguments:
            assert f"`{argument.name}`" in rows[name]
            assert all(f"`{choice}`" in rows[name] for choice in argument.choices)
    for setting in SETTINGS.values():
        allowed = [f"`{choice}`" for choice in setting.choices]
        allowed = allowed or [f"{setting.least:g} to {setting.most:g}"]
        assert f"`{setting.name}`" in rows["set"]
        assert all(words in rows["set"] for words in allowed)
