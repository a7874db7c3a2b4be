"""The story of a break: timeline, evidence, what changed before, what the rollback was worth."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlamon.catalogue import entry
from vlamon.charts.marks import came_about
from vlamon.charts.numbers import count, number
from vlamon.charts.rows import Row
from vlamon.moments import local_time
from vlamon.tui.batch_search import mean_around
from vlamon.tui.headline import Break, returned_to
from vlamon.tui.severity import severity_role
from vlamon.tui.widgets.events import sentence
from vlamon.tui.widgets.inspector import batch_samples

if TYPE_CHECKING:
    from vlamon.records import Event
    from vlamon.store import RunStore

BEFORE = 200
"""Batches before a break in which a change is named."""
JUMP = 1.5
"""Factor from one logged value to the next that is a change of a setting."""
STEADY = 20
"""Batches per change from which on a metric is a setting, whatever it is called."""
MOVES = 3
"""Newest moves of one setting that are named."""
SLOWER = 2.0
"""Factor over its median from which a time is named."""
TOLD = ("control", "resumed", "paused", "rollback", "note")
"""Kinds of events that are named where they come shortly before a break: what was done, not what
the losses did."""
ADVICE = {
    "data": "Look at the samples named above; leave them out, or clip their loss.",
    "dynamics": "Roll back further, then lower the learning rate or clip the gradients.",
    "transient": "The replay did not explode: suspect hardware or a race, and watch ECC.",
}
"""What to do, by the verdict of an autopsy."""


def story_rows(store: RunStore, found: Break, width: int) -> list[Row]:
    """Write the story as paragraphs; the caller holds the feed's lock."""
    rows: list[Row] = [((f" {_title(found.event)}", "explode bold"),), ()]
    verdict = str(found.verdict.data.get("verdict", "")) if found.verdict else ""
    chapters: tuple[tuple[str, Sequence[str]], ...] = (
        ("evidence", list(_evidence(found))),
        ("what changed before", changes_before(store, found.event) or ["nothing that was logged"]),
        ("samples of the batch", [batch_samples(found.event)]),
        ("what the rollback was worth", worth(store, found)),
        ("what to do", [ADVICE.get(verdict.split(":")[0], "")]),
    )
    rows += [((" timeline", "accent"),)]
    for event in _timeline(store, found):
        head = f"   {local_time(event.time):<8}  {event.kind:<10} "
        lines = textwrap.wrap(sentence(event), max(20, width - len(head) - 1)) or [""]
        rows.append(((head, severity_role(event)), (lines[0], "foreground")))
        rows += [((" " * len(head) + line, "foreground"),) for line in lines[1:]]
    for heading, sentences in chapters:
        said = [text for text in sentences if text]
        if said:
            rows += [(), ((f" {heading}", "accent"),)]
        for text in said:
            rows += [((f"   {line}", "foreground"),) for line in textwrap.wrap(text, width - 5)]
    return rows


def _title(event: Event) -> str:
    name = "exploded" if event.kind == "explode" else event.kind.replace("_", " ")
    return f"{name} at {count(event.step)}"


def _timeline(store: RunStore, found: Break) -> list[Event]:
    """Return the break, what came up to its answer, and the answer with the verdict."""
    events = list(store.events)
    first = events.index(found.event)
    ends = [events.index(one) for one in (found.answer, found.verdict) if one is not None]
    return events[first : max([first, *ends]) + 1][:12]


def _evidence(found: Break) -> Iterator[str]:
    data = found.event.data
    metric, value = data.get("metric"), data.get("value")
    if metric and isinstance(value, (int, float)):
        yield f"{metric} was {number(float(value))}"
    ratio, z = data.get("ratio"), data.get("z")
    if isinstance(ratio, (int, float)):
        yield f"{number(float(ratio), 3)}× the median of the batches before"
    if isinstance(z, (int, float)):
        yield f"{number(float(z), 3)}σ above that median"
    if found.event.text:
        yield found.event.text
    if found.verdict is not None:
        yield f"autopsy: {found.verdict.text}"


def changes_before(store: RunStore, event: Event) -> list[str]:
    """Name every setting, weight, command and slow rank that moved shortly before an event."""
    row = store.row_of_step(event.step, event.attempt)
    if row is None:
        return []
    first = max(0, row - BEFORE)
    found = [text for name in store.metrics for text in _moves(store, name, first, row)]
    before, after = store.weights_at(first), store.weights_at(row)
    for name, weight in after.items():
        if name in before and before[name] != weight:
            found.append(f"weight of {name}: {before[name]:g} to {weight:g}")
    start = int(store.steps(first, first + 1)[0])
    for other in takewhile(lambda one: one.id != event.id, store.events):
        if other.kind in TOLD and start <= other.step <= event.step:
            found.append(f"{other.kind} at {count(other.step)}: {sentence(other)}")
    return found


def _moves(store: RunStore, name: str, first: int, row: int) -> Iterator[str]:
    """Say where a setting moved, or where a time rose above its median."""
    values = np.asarray(store.values(name, first, row + 1), np.float64)
    rows = np.flatnonzero(np.isfinite(values))
    known = values[rows]
    if len(known) < 2:
        return
    if any(word in name for word in ("time", "seconds", "wait")):
        usual = float(np.median(known))
        if usual > 0 and known[-1] >= SLOWER * usual:
            yield f"{name}: {number(known[-1])}, {known[-1] / usual:.1f}× its median"
        return
    for at in _moved(name, known, rows, row - first)[-MOVES:]:
        before, after = known[at], known[at + 1]
        step = int(store.steps(first + int(rows[at + 1]), first + int(rows[at + 1]) + 1)[0])
        factor = f" (×{after / before:.3g})" if before > 0 and after > 0 else ""
        yield f"{name}: {before:.3g} to {after:.3g}{factor} at {count(step)}"


def _moved(
    name: str, known: NDArray[np.float64], rows: NDArray[np.intp], broken: int
) -> Sequence[int]:
    """Return the values of a setting after which it moved, none of what is not a setting.

    Whatever its name, a setting keeps its value from batch to batch; what the catalogue knows, or
    calls itself a loss, is measured instead. One that follows a schedule is told by its name, and
    moved where it jumped.
    """
    named = name == "lr" or name.startswith(("lr_", "lr/", "mix", "clip", "weight"))
    changes = np.flatnonzero(known[1:] != known[:-1])
    if len(changes) <= len(known) // STEADY:
        what = entry(name)
        measured = what.known or what.split or what.better
        # What moved with the broken batch came of it, as a count of skipped updates does.
        return [at for at in changes.tolist() if named or not (measured or rows[at + 1] == broken)]
    if not named:
        return ()
    with np.errstate(invalid="ignore", divide="ignore"):
        jumps = np.abs(np.log(known[1:] / known[:-1]))
    jumps = np.where(np.isfinite(jumps), jumps, 0.0)
    at = int(np.argmax(jumps))
    return [at] if jumps[at] >= np.log(JUMP) else ()


def worth(store: RunStore, found: Break) -> list[str]:
    """Say what a rollback cost and saved; nothing where there was none."""
    answer, event = found.answer, found.event
    if answer is None or answer.kind != "rollback" or not came_about(answer):
        return []
    metric = str(event.data.get("metric", "closs"))
    back = returned_to(answer)
    said = [f"steps lost: {count(max(0, event.step - back))}"]
    value = event.data.get("value")
    if metric in store.metrics and store.rows and isinstance(value, (int, float)):
        now = mean_around(store, metric, store.rows - 1)
        said.insert(0, f"{metric}: {number(float(value))} then, {number(now)} now")
    durable = [
        one.step
        for one in store.events
        if one.kind == "checkpoint" and came_about(one) and one.step <= event.step
    ]
    saved = back - max(durable) if durable else back
    if saved > 0:
        against = f"the checkpoint at {count(max(durable))}" if durable else "a restart from 0"
        said.append(f"steps saved against {against}: {count(saved)}")
    return said
