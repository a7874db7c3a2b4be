"""Code, settings and records on the pages are whole: they parse, and name what there is."""

from __future__ import annotations

import ast
import inspect
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import ROOT, blocks, pages
from vlamon import Emitter

SKETCH = ROOT / "docs" / "architecture.md"
"""Where types are sketched, not written."""


def python() -> Iterator[tuple[Path, ast.Module]]:
    """Every block of Python, parsed."""
    for page in pages():
        for code in blocks(page, "python") if page != SKETCH else ():
            yield page, ast.parse(code, filename=str(page))


def defined(module: str) -> set[str]:
    """What a module has or lends, without importing it: its framework may not be installed."""
    place = ROOT.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            found |= set(ast.literal_eval(node.value))
        elif isinstance(node, ast.If):  # a framework that may be absent, and what stands in for it
            found |= {each.name for each in ast.walk(node) if isinstance(each, ast.ClassDef)}
    return found


def test_every_import_of_ours_is_there() -> None:
    missing = []
    for page, tree in python():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                ("vlamon", "trainer")
            ):
                known = defined(node.module or "")
                missing += [
                    f"{page.name}: {node.module}.{alias.name}"
                    for alias in node.names
                    if alias.name not in known
                ]
    assert missing == []
    assert sum(1 for _ in python()) > 15


def test_the_emitter_s_page_has_its_parameters() -> None:
    (call,) = (
        found
        for page, tree in python()
        for found in ast.walk(tree)
        if page.name == "emitter.md"
        and isinstance(found, ast.Call)
        and isinstance(found.func, ast.Name)
        and found.func.id == "Emitter"
        and not found.args
    )
    written = {word.arg: ast.literal_eval(word.value) for word in call.keywords}

    assert written == {
        name: parameter.default for name, parameter in inspect.signature(Emitter).parameters.items()
    }


def test_settings_and_records_parse() -> None:
    for page in pages():
        for text in blocks(page, "toml"):
            tomllib.loads(text)
        for text in blocks(page, "json"):
            for record in text.splitlines():
                json.loads(record)


def test_no_block_hides_a_command_from_these_tests() -> None:
    hidden = [
        f"{page.name}: {text.splitlines()[0]}"
        for page in pages()
        for text in blocks(page, "")
        if text.startswith(("vlamon ", "pip ", "python "))
    ]
    assert hidden == []
