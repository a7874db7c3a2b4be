"""The mutants of a module: one operator, constant or condition is another one in each."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any

OTHER: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
"""What stands in the place of an operator."""
TOP = "-"
"""In the place of a function, outside of any."""
Change = tuple[Any, str, Callable[[], None]]
"""A node, what is changed of it in words, and the change itself."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mutant is, in words that outlive a shift of lines."""

    function: str
    """Qualified name of the function or class around it."""
    change: str
    text: str
    """The line, without its indentation."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one change."""

    tree: ast.Module
    line: int
    change: str
    lines: frozenset[int] = frozenset()
    """Lines that a test must run to notice it."""

    def code(self, path: Path) -> CodeType:
        """The module as code, with the line numbers that it has on disk."""
        return compile(self.tree, str(path), "exec")


def count(source: str) -> int:
    """How many mutants a module has."""
    return sum(1 for _ in _changes(ast.parse(source)))


def places(source: str) -> list[Place]:
    """Where all of them are, in the order of the syntax tree."""
    tree, lines = ast.parse(source), source.splitlines()
    functions = _functions(tree)
    return [
        Place(functions[node] or TOP, change, lines[node.lineno - 1].strip())
        for node, change, _ in _changes(tree)
    ]


def mutant(source: str, number: int) -> Mutant:
    """One of them, in the order of the syntax tree."""
    tree = ast.parse(source)
    node, change, apply = list(_changes(tree))[number]
    line, lines = node.lineno, _lines_of(node, _statements(tree))
    apply()
    return Mutant(ast.fix_missing_locations(tree), line, change, lines)


def _functions(tree: ast.AST) -> Mapping[ast.AST, str]:
    """For every node within a function or a class the qualified name of that."""
    found: dict[ast.AST, str] = {}
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, within = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            within = f"{within}.{node.name}" if within else node.name
        found[node] = within
        waiting += [(child, within) for child in ast.iter_child_nodes(node)]
    return found


def _statements(tree: ast.AST) -> Mapping[ast.AST, ast.stmt]:
    """For every node the innermost statement that it is part of."""
    found: dict[ast.AST, ast.stmt] = {}
    waiting: list[tuple[ast.AST, ast.stmt | None]] = [(tree, None)]
    while waiting:
        node, within = waiting.pop()
        here = node if isinstance(node, ast.stmt) else within
        if here is not None:
            found[node] = here
        waiting += [(child, here) for child in ast.iter_child_nodes(node)]
    return found


def _lines_of(node: Any, statements: Mapping[ast.AST, ast.stmt]) -> frozenset[int]:
    """The lines of its statement, of a compound one those up to its body."""
    statement: Any = statements[node]
    body = getattr(statement, "body", None)
    part = getattr(node, "test", node) if node is statement else node
    last = body[0].lineno - 1 if isinstance(body, list) else statement.end_lineno
    if isinstance(statement, ast.Match):
        last = statement.lineno
    return frozenset(
        (
            *range(statement.lineno, max(last, statement.lineno) + 1),
            *range(part.lineno, part.end_lineno + 1),
        )
    )


def _changes(tree: ast.AST) -> Iterator[Change]:
    passed_over = _untested(tree)
    for node in ast.walk(tree):
        if node in passed_over:
            continue
        match node:
            case ast.Compare(ops=[_]):
                yield _swap(node, node.ops, 0)
            case ast.BinOp() | ast.BoolOp() | ast.AugAssign() if type(node.op) in OTHER:
                yield _swap(node, node, "op")
            case ast.If() | ast.While() | ast.IfExp():
                yield node, "condition negated", _negated(node)
            case ast.Constant(value=bool() | int() | float()):
                yield node, f"{node.value!r} is {_other(node.value)!r}", _constant(node)


def _untested(tree: ast.AST) -> set[ast.AST]:
    """Annotations, defaults of dataclass-like `slots=True`, texts of errors: nothing to test."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign():
                found |= {*ast.walk(node.annotation)}
            case ast.arg(annotation=annotation) if annotation is not None:
                found |= {*ast.walk(annotation)}
            case ast.FunctionDef():
                for part in (*node.decorator_list, *([node.returns] if node.returns else [])):
                    found |= {*ast.walk(part)}
            case ast.ClassDef():
                for part in node.decorator_list:
                    found |= {*ast.walk(part)}
            case ast.JoinedStr():
                found |= {*ast.walk(node)}
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                found |= {*ast.walk(node)}
    return found


def _swap(node: Any, owner: Any, place: int | str) -> Change:
    before = owner[place] if isinstance(place, int) else getattr(owner, place)
    after = OTHER[type(before)]()

    def apply() -> None:
        if isinstance(place, int):
            owner[place] = after
        else:
            setattr(owner, place, after)

    return node, f"{type(before).__name__} is {type(after).__name__}", apply


def _negated(node: Any) -> Callable[[], None]:
    def apply() -> None:
        node.test = ast.copy_location(ast.UnaryOp(ast.Not(), node.test), node.test)

    return apply


def _constant(node: ast.Constant) -> Callable[[], None]:
    def apply() -> None:
        node.value = _other(node.value)

    return apply


def _other(value: Any) -> Any:
    return not value if isinstance(value, bool) else value + 1
