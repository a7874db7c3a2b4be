"""What every metric is: kind, weight, unit, scale, a random guess's score, and how to read it.

Open to any name: `val_`, `train_`, `_rank3` and `/layer_3` around a name are understood,
`l1_loss_action_7` finds the entry of its family, and an unknown name gets an entry that says so.
The texts are data in `vlamon/texts/`, one module per language; English stands in for a missing one.

To add a metric, add its `Entry` to `_FAMILIES`; to explain it, a `MetricText` to `texts/en.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import Literal, NamedTuple

from vlamon.records import Kind

Scale = Literal["linear", "log"]
Better = Literal["lower", "higher", "steady", ""]

DEFAULT_VOCAB = 65536
"""Vocabulary of the full model; a laptop run has another and is asked for it."""
NO_ACTION_YET = 0.94
"""A decoded action L1 from here on says that the argmax is no action token yet: each decodes to
±0.996. It says nothing of the controller."""
LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of a metric, apart from words."""

    name: str
    """The name that was asked for."""
    family: str
    """Name of the entry that answers for it: `l1_loss_action` for `l1_loss_action_7`."""
    kind: Kind = "watched"
    """`trained` terms enter the weighted total."""
    weight: float | None = None
    """Weight in the reference run; a run's own weight goes before it."""
    unit: str = ""
    """Unit behind a value, empty for a pure number."""
    scale: Scale = "linear"
    """How a chart should draw it at first."""
    better: Better = ""
    """Which way is good; empty where neither is."""
    typical: tuple[float, float] | None = None
    """Range of healthy values."""
    guess: float | None = None
    """What a model that knows nothing scores, at the vocabulary that was given."""
    guess_label: str = ""
    """How a chart labels that line: `ln V`."""
    guess_needs_vocab: bool = False
    """Whether `guess` is another at another vocabulary."""
    order: int = 900
    """Place among the panels: the losses first."""
    slot: int | None = None
    """For a metric of one action or image block: its right-aligned slot."""
    rank: int | None = None
    """For a per-rank name such as `closs_rank3`: the rank."""
    layer: int | None = None
    """For a per-layer name such as `grad_norm/layer_3`: the layer."""
    split: str = ""
    """For an average of a split: `val_ind` for `val_ind_closs`; empty for training batches."""
    known: bool = True
    """False for a name that has no entry."""
    apart: bool = False
    """Whether it trains a model of its own on detached inputs: no part of the weighted total."""

    @property
    def copy(self) -> bool:
        """Whether it is one of several of its family, by rank or layer, and no term by itself."""
        return self.rank is not None or self.layer is not None


@dataclass(frozen=True, slots=True)
class MetricText:
    """What is said of a metric in one language."""

    title: str
    """A few words."""
    meaning: str
    """What it measures, for someone who meets it for the first time."""
    formula: str = ""
    """How it is computed."""
    reading: str = ""
    """What its values say."""
    advice: str = ""
    """What to do when it looks wrong."""


@dataclass(frozen=True, slots=True)
class _Guess:
    """What a model that knows nothing scores."""

    label: str
    score: Callable[[int], float]
    needs_vocab: bool = True


_FAMILIES: dict[str, Entry] = {
    entry.family: entry
    for entry in (
        Entry("closs", "closs", "trained", 1.0, "", "linear", "lower", (2.0, 10.0), order=10),
        Entry("loss_ct", "loss_ct", "trained", 10.0, "", "linear", "lower", (0.01, 0.5), order=20),
        Entry("z_loss", "z_loss", "trained", 1e-5, "", "linear", "steady", (0.0, 130.0), order=30),
        Entry("total", "total", "watched", None, "", "linear", "lower", order=5),
        Entry("loss", "loss", "watched", None, "", "linear", "lower", order=6),
        Entry("l1_loss_action", "l1_loss_action", better="lower", typical=(0.0, 0.5), order=40),
        Entry("acc_action", "acc_action", better="higher", typical=(0.0, 1.0), order=50),
        Entry("acc_image", "acc_image", better="higher", typical=(0.0, 1.0), order=60),
        Entry("action_outside", "action_outside", better="lower", typical=(0.0, 0.01), order=45),
        Entry("grad_norm", "grad_norm", scale="log", typical=(0.1, 4.0), order=70),
        Entry("lr", "lr", scale="log", order=80),
        Entry("pull", "pull", better="", typical=(0.0, 1.0), order=90),
        Entry("conflict", "conflict", typical=(-0.1, 1.0), order=95),
        Entry("energy", "energy", "trained", apart=True, better="lower", typical=(0, 2), order=100),
        Entry("energy_positive", "energy_positive", better="lower", typical=(0.1, 2.1), order=101),
        Entry("energy_negative", "energy_negative", better="higher", typical=(0.1, 2.1), order=102),
        Entry("energy_gap", "energy_gap", better="higher", typical=(0.0, 2.0), order=103),
        Entry("energy_acc", "energy_acc", better="higher", typical=(0.0, 1.0), order=104),
        Entry("energy_grad_norm", "energy_grad_norm", scale="log", order=105),
        Entry("time", "time", unit="s", better="lower", order=200),
        Entry("data", "data", unit="s", better="lower", order=201),
        Entry("samples_per_second", "samples_per_second", unit="/s", better="higher", order=202),
        Entry("tokens_per_second", "tokens_per_second", unit="/s", better="higher", order=203),
        Entry("max_memory", "max_memory", unit="MB", order=210),
    )
}

_GUESSES = {
    "closs": _Guess("ln V", math.log),
    "z_loss": _Guess("(ln V)²", lambda vocab: math.log(vocab) ** 2),
    "l1_loss_action": _Guess("no action tokens", lambda vocab: 0.996, needs_vocab=False),
    "acc_action": _Guess("1/V", lambda vocab: 1 / vocab),
    "acc_image": _Guess("1/V", lambda vocab: 1 / vocab),
}

_SYNONYMS = {
    "total_loss": "total",
    "train_loss": "loss",
    "mse_loss": "loss",
    "l1_loss": "loss_ct",
    "learning_rate": "lr",
    "grdn": "grad_norm",
    "gnorm": "grad_norm",
    "gradient_norm": "grad_norm",
    "outside_action_range": "action_outside",
    "energy_loss": "energy",
    "energy_pos": "energy_positive",
    "energy_neg": "energy_negative",
    "energy_margin": "energy_gap",
    "energy_accuracy": "energy_acc",
    "step_time": "time",
    "updt_s": "time",
    "data_time": "data",
    "data_s": "data",
    "samples/sec": "samples_per_second",
    "samples/s": "samples_per_second",
    "samples_per_sec": "samples_per_second",
    "samples_s": "samples_per_second",
    "tokens/s": "tokens_per_second",
    "tokens/sec": "tokens_per_second",
    "tokens_per_sec": "tokens_per_second",
    "tokens_s": "tokens_per_second",
    "max mem": "max_memory",
    "max_mem": "max_memory",
}

_RANK = re.compile(r"^(?P<name>.+?)[_/]rank[_-]?(?P<rank>\d+)$")
_LAYER = re.compile(r"(?:^|(?<=[._/]))[._/]?(?:layers?|blocks?)[._/-]?(?P<layer>\d+)(?=[._/]|$)")
_SPLIT = re.compile(r"^(?P<split>val_ind|val_ood|val|eval|test|train)[_/](?P<name>.+)$")
_SLOT = re.compile(r"^(?P<name>l1_loss_action|acc_action|acc_image)_(?P<slot>\d+)$")
_PULL = re.compile(r"^(?P<name>pull|conflict)_.+$")


def known_families() -> tuple[str, ...]:
    """Names that have an entry of their own, the losses first."""
    return tuple(sorted(_FAMILIES, key=lambda name: _FAMILIES[name].order))


@lru_cache(maxsize=4096)
def entry(name: str, vocab: int = DEFAULT_VOCAB) -> Entry:
    """What is known of a metric; for an unknown one, an entry with `known` False."""
    parts = _taken_apart(name)
    found = _FAMILIES.get(_SYNONYMS.get(parts.bare, parts.bare))
    if found is None:
        better: Better = "lower" if is_loss_name(parts.bare) else ""
        found = Entry(name, parts.bare, better=better, known=False)
    guess = _GUESSES.get(found.family)
    return replace(
        found,
        name=name,
        # An average of another split is looked at, never trained on.
        kind="watched" if parts.split not in ("", "train") else found.kind,
        guess=None if guess is None else guess.score(vocab),
        guess_label="" if guess is None else guess.label,
        guess_needs_vocab=guess is not None and guess.needs_vocab,
        rank=parts.rank,
        layer=parts.layer,
        split=parts.split,
        slot=parts.slot,
    )


def is_loss_name(name: str) -> bool:
    """Whether a name without an entry is that of a loss."""
    found = re.split(r"[^a-z]+", name.lower())
    return found[0] != "ranks" and any(word.endswith(("loss", "losses")) for word in found)


def words(name: str, language: str = "en") -> MetricText | None:
    """What is said of a metric, in English where the language lacks it; None for an unknown one."""
    family = entry(name).family
    for tongue in dict.fromkeys((language, "en")):
        texts: dict[str, MetricText] = import_module(f"vlamon.texts.{tongue}").METRICS
        if family in texts:
            return texts[family]
    return None


def in_order(names: Iterable[str]) -> list[str]:
    """Names as panels show them: the losses first, families together, slots counting up."""

    def place(name: str) -> tuple[object, ...]:
        known = entry(name)
        return (
            known.split not in ("", "train"),
            known.order,
            known.family,
            known.copy,
            *(-1 if part is None else part for part in (known.slot, known.rank, known.layer)),
            name,
        )

    return sorted(names, key=place)


class _Parts(NamedTuple):
    """A name taken apart."""

    bare: str
    """The name without the parts below."""
    rank: int | None
    layer: int | None
    split: str
    slot: int | None


def _taken_apart(name: str) -> _Parts:
    bare, rank, layer, split, slot = name, None, None, "", None
    if (found := _RANK.match(bare)) is not None:
        bare, rank = found["name"], int(found["rank"])
    if (found := _LAYER.search(bare)) is not None:
        head, tail = bare[: found.start()].rstrip("._/"), bare[found.end() :]
        rest = head + tail if head else tail.lstrip("._/")
        if rest:
            bare, layer = rest, int(found["layer"])
    if bare not in _SYNONYMS and (found := _SPLIT.match(bare)) is not None:
        bare, split = found["name"], found["split"]
    if (found := _SLOT.match(bare)) is not None:
        bare, slot = found["name"], int(found["slot"])
    elif (found := _PULL.match(bare)) is not None:
        bare = found["name"]
    return _Parts(bare, rank, layer, split, slot)
