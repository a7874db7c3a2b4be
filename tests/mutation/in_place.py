"""Puts a mutant in the place of its module, in a process that has imported it already.

What a mutant changes within a function is put into that function, wherever it is held: importing
the module and all that imports it once more would take seconds. What it changes outside of
functions was used while they were imported; those are imported anew.
"""

from __future__ import annotations

import gc
import importlib.util
import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tests.mutation.mutants import Mutant

Functions = Mapping[str, Sequence[FunctionType]]
"""The functions of this process by the file that they come from."""
Codes = Mapping[tuple[str, int], CodeType]
"""What functions run, by their qualified name and first line."""
_WITHIN = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")
"""Code that runs only as a part of the function around it."""


def functions_of(paths: Iterable[Path]) -> Functions:
    """All functions of these files that exist, nested and decorated ones too."""
    found: dict[str, list[FunctionType]] = {str(path): [] for path in paths}
    for each in gc.get_objects():
        if type(each) is FunctionType and each.__code__.co_filename in found:
            found[each.__code__.co_filename].append(each)
    return found


def changed_functions(path: Path, changed: Mutant) -> Codes | None:
    """The functions with the mutant's code; None where these are not all that it changes."""
    before, after = compile(path.read_bytes(), str(path), "exec"), changed.code(path)
    if _other_statements(before, after):
        return None
    codes: dict[tuple[str, int], CodeType] = {}
    for code in _functions_in(after):
        place = (code.co_qualname, code.co_firstlineno)
        if place in codes:  # two lambdas of one line
            return None
        codes[place] = code
    return codes


def put_into(functions: Sequence[FunctionType], codes: Codes) -> None:
    """Let the functions that exist run this code."""
    for function in functions:
        code = codes.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
        if code is not None:
            function.__code__ = code


def _functions_in(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if each.co_flags & inspect.CO_OPTIMIZED and each.co_name not in _WITHIN:
                yield each
            yield from _functions_in(each)


def _other_statements(before: CodeType, after: CodeType) -> bool:
    """Whether the statements of a module or of a class in it are others."""
    if before.co_code != after.co_code or before.co_names != after.co_names:
        return True
    if len(before.co_consts) != len(after.co_consts):
        return True
    for one, other in zip(before.co_consts, after.co_consts, strict=True):
        if isinstance(one, CodeType) and isinstance(other, CodeType):
            own = one.co_flags & inspect.CO_OPTIMIZED and one.co_name not in _WITHIN
            if not own and _other_statements(one, other):
                return True
        elif (type(one), repr(one)) != (type(other), repr(other)):
            return True
    return False


class OneMutant(MetaPathFinder, Loader):
    """Finds the mutant where its module is imported."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self.name, self.path, self.code = name, path, code

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, module.__dict__)


def put_where_imported(name: str, path: Path, changed: Mutant) -> None:
    """Give the mutant to whatever imports the module from now on."""
    sys.meta_path.insert(0, OneMutant(name, path, changed.code(path)))


def forget_modules(packages: Iterable[str]) -> None:
    """Let everything of these packages be imported anew."""
    gone = frozenset(packages)
    for loaded in [each for each in sys.modules if each.partition(".")[0] in gone]:
        del sys.modules[loaded]
