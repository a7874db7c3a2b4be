"""What the pages on security and reliability promise is tested where they say so."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.fuzz.targets import BY_NAME

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
PAGES = ("docs/security.md", "docs/reliability.md")
_SPAN = re.compile(r"`([^`\n]+)`")
_FILE = re.compile(r"^(?:tests/)?([\w/]+\.py)?(?:::(\w+))?$")


@cache
def functions(path: Path) -> frozenset[str]:
    """The tests of a file."""
    tree = ast.parse(path.read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def named(page: str) -> list[tuple[str, str]]:
    """Files and tests that a page names; `::test` alone is of the file named before it."""
    found, last = [], ""
    for span in _SPAN.findall((ROOT / page).read_text()):
        match = _FILE.match(span)
        if match is None or not any(match.groups()):
            continue
        last = match[1] or last
        if last.endswith(".py") and (match[2] or "test_" in last):
            found.append((last, match[2] or ""))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    files = {path.name: path for path in TESTS.rglob("test_*.py")}
    for file, test in named(page):
        path = TESTS / file
        if "/" not in file:
            path = files.get(file, path)
        assert path.is_file(), f"{page} names {file}"
        assert not test or test in functions(path), f"{page} names {file}::{test}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make ([\w-]+)(?= [A-Z]+=|`|$| +#)", text, re.M):
        assert re.search(rf"^{target}:", makefile, re.M), f"{page} names make {target}"
    for module in re.findall(r"python -m (tests[\w.]+)", text):
        path = ROOT / Path(*module.split("."))
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    for given in re.findall(r"pytest ((?:tests/[\w/.]+ ?)+)", text):
        for path in given.split():
            assert (ROOT / path).exists(), f"{page} names {path}"


def test_every_row_of_the_threats_names_a_test() -> None:
    text = (ROOT / "docs/security.md").read_text()
    table = text[text.index("| from | attack |") :].split("\n\n")[0].splitlines()[2:]
    assert len(table) >= 20
    for row in table:
        cell = row.strip("| ").rpartition(" | ")[2]
        assert "`" in cell, row
        for target in re.findall(r"targets? (`\w+`(?:(?:, | and )`\w+`)*) of `fuzz`", cell):
            assert set(re.findall(r"\w+", target)) - {"and"} <= set(BY_NAME), row
