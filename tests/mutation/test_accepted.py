"""The list of mutants that may survive: every entry has a reason and means something."""

from __future__ import annotations

import pytest

from tests.mutation.accepted import Accepted, Entry, Site, name_of, read
from tests.mutation.mutants import Place, places

SOURCE = """
LIMIT = 3

class Judge:
    def above(self, value):
        return value > LIMIT or value < -LIMIT * 1.5
"""
SITES: list[Site] = [("a.py", place) for place in places(SOURCE)]


def test_a_mutant_is_named_by_its_function_and_line_of_code() -> None:
    names = {name_of(site) for site in SITES}
    assert "a.py | - | 3 is 4 | LIMIT = 3" in names
    line = "return value > LIMIT or value < -LIMIT * 1.5"
    assert f"a.py | Judge.above | Gt is GtE | {line}" in names
    assert all(Entry(name, "as it is").covers(site) for site in SITES for name in [name_of(site)])


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("a.py | - | number | *", {"3 is 4"}),
        ("a.py | * | number | *", {"3 is 4", "1.5 is 2.5"}),
        ("* | Judge* | *t is *E | return value > *", {"Gt is GtE", "Lt is LtE"}),
        ("a.py | Judge.above | Mult is Add | *-LIMIT * 1.5", {"Mult is Add"}),
        ("b.py | * | * | *", set()),
        ("a.py | - | * | LIMIT = 4", set()),
    ],
)
def test_an_entry_means_the_mutants_that_its_parts_fit(text: str, changes: set[str]) -> None:
    entry = Entry(text, "as it is")
    assert {place.change for file, place in SITES if entry.covers((file, place))} == changes


@pytest.mark.parametrize(("text", "why"), [("a.py | - | 3 is 4", "x"), ("a | b | c | d", "")])
def test_an_entry_has_four_parts_and_a_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="a reason"):
        Entry(text, why)


def test_an_entry_whose_mutants_are_all_noticed_is_said() -> None:
    one = Entry("a.py | Judge.above | Gt is GtE | *", "x")
    two = Entry("a.py | * | number | *", "x")
    anywhere = Entry("* | - | 3 is 4 | *", "x")
    held = Accepted([one, two, anywhere], SITES)
    by_change = {place.change: ("a.py", place) for _, place in SITES}
    assert held.note(by_change["Gt is GtE"], survived=False)
    assert held.note(by_change["3 is 4"], survived=False)
    assert not held.note(by_change["Lt is LtE"], survived=True)
    assert list(held.noticed()) == [one]
    held.note(by_change["1.5 is 2.5"], survived=True)
    assert list(held.noticed()) == [one]
    held.note(by_change["Gt is GtE"], survived=True)
    assert list(held.noticed()) == []


def test_an_entry_whose_code_is_gone_is_said_for_the_area_that_it_is_of() -> None:
    here, gone, elsewhere = (
        Entry(text, "x")
        for text in (
            "code/a.py | - | 3 is 4 | *",
            "code/a.py | - | 3 is 4 | LIMIT = 9",
            "other/a.py | - | 9 is 10 | *",
        )
    )
    held = Accepted([here, gone, elsewhere], [(f"code/{file}", place) for file, place in SITES])
    assert held.missing("code") == [gone]


def test_the_list_is_read_with_a_reason_for_each_entry() -> None:
    entries = read()
    assert len(entries) > 20
    assert len({entry.text for entry in entries}) == len(entries), "each is there once"


def test_a_line_may_hold_the_separator() -> None:
    site = ("a.py", Place("f", "Is is IsNot", "return value is None or a | b"))
    assert Entry(name_of(site), "x").covers(site)
