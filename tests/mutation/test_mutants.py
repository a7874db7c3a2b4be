"""A mutant is its module with one change, and none is of what no test could notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.accepted import Entry
from tests.mutation.areas import AREAS, Area
from tests.mutation.forked import forked
from tests.mutation.mutants import count, mutant
from tests.mutation.touched import Measured, chosen
from tests.mutation.trial import Wanted, try_area

SOURCE = """
def judged(value: int | None = 3) -> bool:
    if value > 2 and value != 5:
        return True
    return f"{value + 1}" is None
"""


def test_each_mutant_is_one_change() -> None:
    made = [mutant(SOURCE, number) for number in range(count(SOURCE))]
    changes = [(each.line, each.change) for each in made]
    assert sorted(changes) == [
        (2, "3 is 4"),
        (3, "2 is 3"),
        (3, "5 is 6"),
        (3, "And is Or"),
        (3, "Gt is GtE"),
        (3, "NotEq is Eq"),
        (3, "condition negated"),
        (4, "True is False"),
        (5, "Is is IsNot"),
    ]
    assert len({each.code(Path("judged.py")) for each in made}) == len(made)
    assert {each.lines for each in made} == {frozenset({line}) for line in (2, 3, 4, 5)}


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.name)
def test_every_area_has_mutants_and_tests(area: Area) -> None:
    assert sum(count(path.read_text()) for path in area.modules()) > 100
    assert all(path.is_file() for path in area.test_files())


def test_a_mutant_is_tried_by_the_fastest_tests_that_run_its_line() -> None:
    tests = [
        Measured("slow", True, 30.0, {"a.py": frozenset({1, 2})}),
        Measured("fast", True, 0.1, {"a.py": frozenset({2})}),
        Measured("elsewhere", True, 0.1, {"a.py": frozenset({3}), "b.py": frozenset({2})}),
        Measured("broken", False, 0.1, {"a.py": frozenset({2})}),
    ]

    def names(**lines: set[int]) -> list[str]:
        wanted = {f"{file}.py": frozenset(each) for file, each in lines.items()}
        return [each.name for each in chosen(tests, wanted, 20.0)]

    assert names(a={2}) == ["fast"]
    assert names(a={1}) == ["slow"]
    assert names(a={2}, b={2}) == ["fast", "elsewhere"]
    assert names(c={2}) == []


SAMPLE = """
from functools import cache

from sample.limits import LIMIT

class Judge:
    most = 7

    @property
    def strict(self):
        return LIMIT + 1

@cache
def above(value):
    return value > LIMIT

def unseen():
    return 1
"""
LIMITS = """
LIMIT = 3
"""
TESTS = """
from sample.judge import LIMIT, Judge, above

def test_above():
    assert above(4) and not above(3)

def test_strict():
    assert Judge().strict == LIMIT + 1
"""


def test_what_no_test_notices_is_named_and_nothing_else(tmp_path: Path) -> None:
    """In functions, decorated ones too, and in what others use at import: `LIMIT` is 4 for both."""
    for folder in ("sample", "checks", "base"):
        (tmp_path / folder).mkdir()
    (tmp_path / "sample" / "__init__.py").touch()
    (tmp_path / "checks" / "__init__.py").touch()
    (tmp_path / "sample" / "judge.py").write_text(SAMPLE)
    (tmp_path / "sample" / "limits.py").write_text(LIMITS)
    (tmp_path / "checks" / "test_judge.py").write_text(TESTS)
    said = tmp_path / "said"
    area = Area("sample", "sample", ("checks",), tmp_path)

    def say(text: str) -> None:
        with said.open("a") as file:
            file.write(f"{text}\n")

    listed = [
        Entry("sample/judge.py | unseen | number | *", "nobody calls it"),
        Entry("sample/judge.py | Judge.strict | Add is Sub | *", "as it was"),
        Entry("sample/judge.py | Judge.mild | Add is Sub | *", "as it was"),
    ]
    wanted = Wanted(accepted=listed)
    done = forked(lambda: try_area(area, wanted, say, tmp_path / "base", []), 60.0)
    assert (done.sites, done.tried, done.broken) == (6, 6, "")
    assert (done.survived, done.accepted) == (2, 1)
    assert (done.noticed, done.missing) == ([listed[1].text], [listed[2].text])
    assert said.read_text().splitlines() == [
        "sample/judge.py | Judge | 7 is 8 | most = 7",
        "    line 7, 2 tests run it",
    ]
