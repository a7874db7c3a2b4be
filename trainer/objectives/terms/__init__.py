"""The loss terms: one file each, found by being here."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from trainer.objectives.term import Term


@cache
def shipped() -> dict[str, Term]:
    """Every term in this folder by name, in the order of the total."""
    found = [
        import_module(f"{__name__}.{module.name}").TERM for module in pkgutil.iter_modules(__path__)
    ]
    return {term.name: term for term in sorted(found, key=lambda term: (term.order, term.name))}
