"""`vlamon explain NAME`: a metric's entry in the catalogue, well enough to teach a newcomer."""

from __future__ import annotations

import difflib
import re
import textwrap
import unicodedata
from collections.abc import Iterator
from importlib import import_module

import click

from vlamon.catalogue import (
    DEFAULT_VOCAB,
    LANGUAGES,
    Entry,
    MetricText,
    entry,
    known_families,
    words,
)
from vlamon.safe_text import line

WIDTH = 88
PIECES = re.compile(r"\s*(?:[!-~]+|\S)")
"""Chinese text breaks between any two characters, but not within a Latin word or a number."""
NEVER_FIRST = "，。；：、）？！"


def names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Metrics that begin like what was typed, for the shell's completion."""
    return [name for name in known_families() if name.startswith(incomplete)]


@click.command()
@click.argument("name", required=False, shell_complete=names)
@click.option("--lang", type=click.Choice(LANGUAGES), default="en", help="Language of the text.")
@click.option("--vocab", type=click.IntRange(min=2), default=DEFAULT_VOCAB, show_default=True)
def command(name: str | None, lang: str, vocab: int) -> int:
    """Explain a metric: what it measures, its formula and range, what to do; all names without one.

    Names with a slot, a split or a rank are understood: l1_loss_action_7, val_closs, closs_rank1.
    """
    labels: dict[str, str] = import_module(f"vlamon.texts.{lang}").LABELS
    if name is None:
        click.echo(labels["all"].format(names=", ".join(known_families())))
        return 0
    known, text = entry(name, vocab), words(name, lang)
    if text is None:
        click.echo(line(labels["unknown"].format(name=name)))
        if near := difflib.get_close_matches(known.family, known_families(), n=3):
            click.echo(labels["near"].format(names=", ".join(near)))
        return 0
    for piece in explanation(known, text, labels, vocab):
        click.echo(line(piece))
    return 0


def explanation(
    known: Entry, text: MetricText, labels: dict[str, str], vocab: int
) -> Iterator[str]:
    """The lines that teach: what it is, the facts as a table, then formula, reading, advice."""
    yield f"{known.name}: {text.title}"
    yield ""
    yield from wrapped(text.meaning)
    yield ""
    known_facts = list(facts(known, labels, vocab))
    room = max(_columns(label) for label, _ in known_facts) + 2
    for label, fact in known_facts:
        lines = wrapped(fact, WIDTH - room - 2)
        yield f"  {label}{' ' * (room - _columns(label))}{lines[0]}"
        for rest in lines[1:]:
            yield " " * (room + 2) + rest
    for key, paragraph in (
        ("formula", text.formula),
        ("reading", text.reading),
        ("advice", text.advice),
    ):
        if paragraph:
            yield ""
            yield labels[key]
            yield from (f"  {piece}" for piece in wrapped(paragraph, WIDTH - 2))


def facts(known: Entry, labels: dict[str, str], vocab: int) -> Iterator[tuple[str, str]]:
    """What is known of a metric apart from words, each as a label and its value."""
    yield labels["kind"], labels[known.kind]
    if known.weight is not None:
        yield labels["weight"], f"{known.weight:g}"
    if known.unit:
        yield labels["unit"], known.unit
    yield labels["scale"], labels[known.scale]
    if known.better:
        yield labels["better"], labels[known.better]
    if known.typical is not None:
        yield labels["typical"], f"{known.typical[0]:g} … {known.typical[1]:g}"
    if known.guess is not None:
        note = labels["at_vocab"].format(vocab=vocab) if known.guess_needs_vocab else ""
        label = labels.get(known.guess_label, known.guess_label)
        yield labels["guess"], f"{known.guess:.4g}: {label}{note}"
    if known.slot is not None:
        yield labels["slot"], labels["slot_text"].format(slot=known.slot)
    if known.rank is not None:
        yield labels["rank"], labels["rank_text"].format(rank=known.rank)
    if known.split:
        yield labels["split"], labels["split_text"].format(split=known.split)


def wrapped(text: str, width: int = WIDTH) -> list[str]:
    """Lines of at most `width` terminal columns, Chinese or not."""
    if not any(_wide(character) for character in text):
        return textwrap.wrap(text, width)
    lines, last = [], ""
    for piece in PIECES.findall(text):
        if _columns(last + piece) > width and piece not in NEVER_FIRST:
            lines.append(last)
            last = piece.lstrip()
        else:
            last += piece
    return [*lines, last]


def _columns(text: str) -> int:
    return sum(1 + _wide(character) for character in text)


def _wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF"
