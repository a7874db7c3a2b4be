"""What a metric means: the catalogue's entry, with the run's own figures under it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.tui.numbers import number
from vlamon.tui.rows import Row
from vlamon.tui.screens.page import Page

if TYPE_CHECKING:
    from vlamon.store import RunStore


def explanation_page(name: str, store: RunStore) -> Page:
    """Give the page for one metric."""
    latest = store.latest(name)
    spec = store.specs.get(name)

    def write(width: int) -> Sequence[Row]:
        rows: list[Row] = []
        for line in _entry(name):
            for part in textwrap.wrap(line, width - 2) or [""]:
                rows.append(((f" {part}", "foreground"),))
        rows.append(())
        rows.append(((" newest  ", "muted"), (number(latest), "title bold")))
        if spec is not None:
            weight = f", weight {spec.weight:g}" if spec.weight is not None else ""
            rows.append(((" in this run  ", "muted"), (f"{spec.kind}{weight}", "foreground")))
        return rows

    return Page(name, write)


def _entry(name: str) -> list[str]:
    return [name]
