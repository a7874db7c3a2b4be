"""What a metric means: the catalogue's entry, with the run's own figures under it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vlamon.catalogue import entry, words
from vlamon.charts.numbers import number
from vlamon.charts.rows import Row
from vlamon.tui.dialogs.page import Page

if TYPE_CHECKING:
    from vlamon.tui.host import Host


def explanation_page(host: Host, name: str) -> Page:
    """Return the page for one metric."""
    store = host.store
    latest = store.latest(name)
    spec = store.specs.get(name)

    def write(width: int) -> Sequence[Row]:
        rows: list[Row] = []
        for heading, text in _paragraphs(name):
            if heading:
                rows.append(((f" {heading}", "accent"),))
            rows += [((f" {part}", "foreground"),) for part in textwrap.wrap(text, width - 2)]
            rows.append(())
        rows.append(((" newest  ", "muted"), (number(latest), "title bold")))
        if spec is not None:
            weight = f", weight {spec.weight:g}" if spec.weight is not None else ""
            rows.append(((" in this run  ", "muted"), (f"{spec.kind}{weight}", "foreground")))
        return rows

    return Page(host, name, write)


def _paragraphs(name: str) -> list[tuple[str, str]]:
    text, known = words(name), entry(name)
    if text is None:
        return [("", f"The catalogue has no entry for {name}; the run sends it as it is.")]
    found = [("", f"{text.title[:1].upper()}{text.title[1:]}. {text.meaning}")]
    found += [("formula", text.formula), ("how to read it", text.reading)]
    found.append(("what to do", text.advice))
    facts = []
    if known.typical is not None:
        facts.append(f"healthy between {known.typical[0]:g} and {known.typical[1]:g}")
    if known.guess is not None:
        facts.append(f"a random guess scores {known.guess:.4g} ({known.guess_label})")
    if facts:
        found.append(("figures", "; ".join(facts) + "."))
    return [(heading, part) for heading, part in found if part]
