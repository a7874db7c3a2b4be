"""The mutants that may survive, each with the reason: `accepted.toml`."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.mutation.mutants import Place

LIST = Path(__file__).with_name("accepted.toml")
SEPARATOR = " | "
NUMBER = "number"
"""Stands for every change of a number by one."""
_BY_ONE = re.compile(r"[\d.e+-]+ is [\d.e+-]+")
Site = tuple[str, Place]
"""A mutant by its file, as a path below the top, and its place in it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """`FILE | FUNCTION | CHANGE | LINE` of one mutant, or of several where a part has a `*`."""

    text: str
    why: str

    def __post_init__(self) -> None:
        if len(self.parts) != 4 or not self.why:
            raise ValueError(f"{self.text!r}: FILE | FUNCTION | CHANGE | LINE, and a reason")

    @property
    def parts(self) -> list[str]:
        """The four of them."""
        return self.text.split(SEPARATOR, 3)

    def covers(self, site: Site) -> bool:
        """Whether a mutant is meant."""
        file, place = site
        found = (file, place.function, place.change, place.text)
        return all(map(_fits, self.parts, found))


def _fits(pattern: str, text: str) -> bool:
    if pattern == NUMBER:
        return _BY_ONE.fullmatch(text) is not None
    if "*" not in pattern:
        return pattern == text
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


def name_of(site: Site) -> str:
    """What an entry for this mutant says."""
    file, place = site
    return SEPARATOR.join((file, place.function, place.change, place.text))


def read(path: Path = LIST) -> list[Entry]:
    """All entries of the list."""
    kinds: Sequence[Mapping[str, object]] = tomllib.loads(path.read_text())["kind"]
    found = []
    for kind in kinds:
        mutants = kind["mutants"]
        assert isinstance(mutants, list)
        found += [Entry(text, str(kind["why"])) for text in mutants]
    return found


@dataclass(slots=True)
class Accepted:
    """Holds what came of the mutants of an area against the list."""

    entries: Sequence[Entry]
    sites: Sequence[Site]
    """All mutants of the area."""
    _tried: Counter[Entry] = field(default_factory=Counter)
    _survived: Counter[Entry] = field(default_factory=Counter)

    def note(self, site: Site, *, survived: bool) -> bool:
        """A mutant was tried; whether it is on the list."""
        meant = [entry for entry in self.entries if entry.covers(site)]
        for entry in meant:
            self._tried[entry] += 1
            self._survived[entry] += survived
        return bool(meant)

    def noticed(self) -> Iterator[Entry]:
        """Entries all of whose mutants were tried and noticed: they can go."""
        for entry, tried in self._tried.items():
            everywhere = "*" in entry.parts[0]  # another area may need it
            if not everywhere and not self._survived[entry] and tried == self._meant(entry):
                yield entry

    def _meant(self, entry: Entry) -> int:
        return sum(map(entry.covers, self.sites))

    def missing(self, code: str) -> list[Entry]:
        """Entries for files below `code` that mean nothing any more: these have changed since."""
        return [
            entry
            for entry in self.entries
            if entry.parts[0].startswith(f"{code}/") and not self._meant(entry)
        ]
