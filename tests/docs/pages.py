"""Reads Markdown for tests: headings, links, and shell commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
_SPAN = re.compile(r"`(vlamon [^`]+)`")
_COMMENT = re.compile(r"(?<=\s)#.*$")
_SEPARATORS = {"|", "&&", "||", ";", "&"}


def pages() -> list[Path]:
    """The READMEs and every page of docs/."""
    return sorted([*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")])


@dataclass(frozen=True, slots=True)
class Written:
    """A command as it is written on a page."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        """The words that the program gets."""
        return shlex.split(self.text)


def headings(text: str) -> list[str]:
    """The headings, with their marks."""
    return re.findall(r"^#+ .*$", _BLOCK.sub("", text), re.M)


def links(text: str) -> list[str]:
    """Where links and pictures lead."""
    return re.findall(r"\]\(([^)\s]+)\)", _BLOCK.sub("", text))


def blocks(path: Path, kind: str) -> list[str]:
    """What stands in the ```kind blocks."""
    return [body for named, body in _BLOCK.findall(path.read_text()) if named == kind]


def console(path: Path) -> list[Written]:
    """The commands of the ```console blocks, parted at pipes, without comments and redirections."""
    page = str(path.relative_to(ROOT))
    lines = (
        line[2:]
        for body in blocks(path, "console")
        for line in body.splitlines()
        if line.startswith("$ ")
    )
    return [Written(page, command) for line in lines for command in _parted(line)]


def spans(path: Path) -> list[Written]:
    """The commands that stand in a sentence, `vlamon watch`."""
    text = _BLOCK.sub("", path.read_text()).replace("\\|", "|")
    return [
        Written(str(path.relative_to(ROOT)), " ".join(found.split()))
        for found in _SPAN.findall(text)
    ]


def _parted(line: str) -> Iterator[str]:
    command: list[str] = []
    words = iter(shlex.split(_COMMENT.sub("", line)))
    for word in words:
        if word in _SEPARATORS:
            yield shlex.join(command)
            command = []
        elif word in (">", ">>", "2>"):
            next(words)
        else:
            command.append(word)
    if command:
        yield shlex.join(command)
