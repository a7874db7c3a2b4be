"""A mutant is its module with one change, and none is of what no test could notice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.__main__ import AREAS, TOP, Area, chosen_tests, modules_of, survives
from tests.mutation.mutants import Mutant, count, mutant

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
    assert len({each.source for each in made}) == len(made)


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.name)
def test_every_area_has_mutants_and_tests(area: Area) -> None:
    modules = modules_of(area)
    assert sum(count(path.read_text()) for path in modules) > 100
    assert any(chosen_tests(area, path) for path in modules)
    assert all((TOP / path).exists() for path in area.also)


def test_a_mutant_that_a_test_notices_does_not_survive(tmp_path: Path) -> None:
    module = TOP / "vlamon" / "ranks.py"
    test = tmp_path / "test_it.py"
    test.write_text("def test_it():\n    import vlamon.ranks\n    assert not vlamon.ranks.BROKEN\n")
    assert survives(module, Mutant("BROKEN = False\n", 1, "as it was"), [str(test)])
    assert not survives(module, Mutant("BROKEN = True\n", 1, "changed"), [str(test)])
