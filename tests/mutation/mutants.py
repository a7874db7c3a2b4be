"""The mutants of a module: one operator, constant or condition is another one in each."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

OTHER: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
"""What stands in the place of an operator."""
Change = tuple[Any, str, Callable[[], None]]
"""A node, what is changed of it in words, and the change itself."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one change."""

    source: str
    line: int
    change: str


def count(source: str) -> int:
    """How many mutants a module has."""
    return sum(1 for _ in _changes(ast.parse(source)))


def mutant(source: str, number: int) -> Mutant:
    """One of them, in the order of the syntax tree."""
    tree = ast.parse(source)
    node, change, apply = list(_changes(tree))[number]
    line = node.lineno
    apply()
    return Mutant(ast.unparse(ast.fix_missing_locations(tree)), line, change)


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
        node.test = ast.UnaryOp(ast.Not(), node.test)

    return apply


def _constant(node: ast.Constant) -> Callable[[], None]:
    def apply() -> None:
        node.value = _other(node.value)

    return apply


def _other(value: Any) -> Any:
    return not value if isinstance(value, bool) else value + 1
