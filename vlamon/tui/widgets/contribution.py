"""Contribution of each trained term: by value, and by its pull on the trunk where it is sent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vlamon.analysis.contributions import (
    COSINE,
    PULL,
    Contributions,
    Term,
    assumed_weights,
    contributions,
)
from vlamon.charts.glyphs import Glyphs
from vlamon.charts.metric_roles import role_of_metric
from vlamon.charts.numbers import number, percent
from vlamon.charts.rows import Row, cells, column, fit, shorten, shorten_name, spread
from vlamon.tui.frame_context import FrameContext
from vlamon.tui.widgets.row_panel import RowPanel, framed

NAME_CELLS = 12
WEIGHT_CELLS = 9
SHARE_CELLS = 9


class ContributionPanel(RowPanel):
    """Bars of the weighted total."""

    def rows(self, frame: FrameContext, width: int, height: int) -> Sequence[Row]:
        """Return one bar a term, the heaviest weights in the order of the run."""
        found = weighed(frame)
        # Asked of the run, not of the batch: bars must not change their scale as the cursor moves.
        pulls = any(PULL + term.name in frame.store.metrics for term in found.terms)
        if height == 1:
            return [_share_line(found, width, pulls, frame)]
        title: Row = (("contribution", "title"),)
        if frame.at_cursor:
            title = (*title, (" at cursor", "accent"))
        if found.terms and not frame.store.weights_at():
            title = (*title, (" weights assumed", "muted"))
        right: list[tuple[str, str]] = []
        for one, other, cosine in found.cosines[:1] if width >= 100 else ():
            right.append((f"{one}{frame.glyphs.both}{other} cos {cosine:+.2f}  ", "muted"))
        right += [("total ", "muted"), (number(found.total), _total_role(found.total))]
        inner = width - 2
        body = [_term_row(term, inner, pulls, frame) for term in found.terms]
        return framed(title, tuple(right), body, width, height, frame.glyphs)


def _share_line(found: Contributions, width: int, pulls: bool, frame: FrameContext) -> Row:
    """Write the shares of the total in one row: name, bar, percent of each term."""
    right: list[tuple[str, str]] = []
    if pulls:
        said = " / ".join(percent(term.pull, 0).removesuffix(" %") for term in found.terms)
        right += [("pull ", "muted"), (f"{said}  ", "foreground")]
    right += [("total ", "muted"), (f"{number(found.total)} ", _total_role(found.total))]
    head = " share at cursor" if frame.at_cursor else " share"
    terms = [term for term in found.terms if not term.apart]
    room = width - cells(tuple(right)) - len(head) - 2
    room -= sum(map(_words, terms))
    while room < 0 and len(terms) > 1:  # the least telling one makes room for the others' bars
        least = min(terms, key=lambda term: term.share or 0.0)
        terms.remove(least)
        room += _words(least)
    room = max(0, room)
    row: list[tuple[str, str]] = [(head, "muted")]
    for term in terms:
        role = role_of_metric(term.name)
        share = term.share if term.share is not None and math.isfinite(term.share) else 0.0
        bar = _bar(term.share, max(1, int(room * share)), role, frame.glyphs) if room else []
        if share > 0 and room:
            bar = [(frame.glyphs.bar[-1] * int(room * share) or frame.glyphs.bar[1], role)]
        said = f" {percent(term.share)}"
        part = [("  ", ""), (f"{term.name} ", role), *bar, (said, "foreground")]
        if cells((*row, *part)) > width - cells(tuple(right)) - 1:
            break
        row += part
    return spread(tuple(row), tuple(right), width)


def _words(term: Term) -> int:
    """Return the cells of a term's name and percent in the line of shares."""
    return cells(((term.name, ""),)) + len(percent(term.share)) + 4


def weighed(frame: FrameContext) -> Contributions:
    """Weigh the batch of the row shown, terms in the order in which the run states their weights;
    terms that the newest batch lacks count by their last value."""
    store, row = frame.store, frame.row
    if row is None:
        return Contributions((), None)
    weights = store.weights_at(row) or assumed_weights(store.metrics)
    beside = (PULL, COSINE, "total")
    names = [name for name in store.metrics if name in weights or name.startswith(beside)]
    values = {name: store.value(name, row) for name in names}
    if not frame.at_cursor:
        for name in names:
            if values[name] is None:
                values[name] = store.latest(name)
    return contributions(values, weights)


def _total_role(total: float | None) -> str:
    return "explode bold" if total is not None and not math.isfinite(total) else "title bold"


def _term_row(term: Term, width: int, pulls: bool, frame: FrameContext) -> Row:
    glyphs = frame.glyphs
    role = role_of_metric(term.name)
    narrow = width < 70
    name_cells = min(NAME_CELLS, width // 4)
    row: list[tuple[str, str]] = [
        (" " + column(shorten_name(term.name, name_cells, glyphs.ellipsis), name_cells), role)
    ]
    weight = f"{glyphs.times}{short_weight(term.weight)}"
    row.append((weight.ljust(WEIGHT_CELLS), "muted"))
    used = 1 + name_cells + WEIGHT_CELLS
    if term.apart:
        said = f"{number(term.value)}  a model of its own: detached, not in the total"
        return fit((*row, (shorten(said, width - used, glyphs.ellipsis), "muted")), width)
    if pulls and not narrow:
        room = (width - used - 2 * SHARE_CELLS - 6) // 2
        row += _bar(term.share, room, role, glyphs)
        row.append((percent(term.share).rjust(SHARE_CELLS), "foreground"))
        row.append((" pull ", "muted"))
        row += _bar(term.pull, room, role, glyphs)
        row.append((percent(term.pull).rjust(SHARE_CELLS - 1), "foreground"))
        return tuple(row)
    tail = ""
    if pulls:
        tail = f" pull {percent(term.pull, 0)}"
    room = width - used - SHARE_CELLS - (11 if pulls else 0) - 1
    row += _bar(term.share, room, role, glyphs)
    row.append((percent(term.share).rjust(SHARE_CELLS), "foreground"))
    if tail:
        row.append((tail.rjust(11), "muted"))
    return fit(tuple(row), width)


def short_weight(weight: float | None) -> str:
    """Write a weight as people type it: 10, 0.5, 1e-5."""
    if weight is None:
        return "–"
    if weight and abs(weight) < 1e-3:
        mantissa, exponent = f"{weight:.2g}".split("e") if "e" in f"{weight:.2g}" else ("", "")
        return f"{mantissa}e{int(exponent)}" if exponent else f"{weight:.2g}"
    return f"{weight:g}"


def _bar(share: float | None, room: int, role: str, glyphs: Glyphs) -> list[tuple[str, str]]:
    """Draw a share of one as a bar in eighths; anything above zero is at least a sliver."""
    room = max(0, room)
    if share is None or room == 0:
        return [(" " * room, role)]
    if not math.isfinite(share):
        return [("NaN".ljust(room)[:room], "explode bold")]
    eighths = min(room * 8, max(round(share * room * 8), 1 if share > 0 else 0))
    full, rest = divmod(eighths, 8)
    text = glyphs.bar[-1] * full
    if rest:
        text += glyphs.bar[max(1, rest * (len(glyphs.bar) - 1) // 8)]
    return [(text.ljust(room), role)]
