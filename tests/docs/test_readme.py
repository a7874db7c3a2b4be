"""The Chinese README says what the English one does: the same sections, commands and links."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, console, headings, links

ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"
SECTIONS = {
    "# vlamon": "# vlamon",
    "## I have a log": "## 我有日志",
    "## I have a training": "## 我有训练",
    "## I have a cluster": "## 我有集群",
    "## What it costs": "## 开销",
    "## What it does not do": "## 它不做什么",
    "## Documentation": "## 文档",
    "## Develop": "## 开发",
}


def test_both_have_the_same_sections_in_the_same_order() -> None:
    assert headings(ENGLISH.read_text()) == list(SECTIONS)
    assert headings(CHINESE.read_text()) == list(SECTIONS.values())


def test_both_have_the_same_commands() -> None:
    english, chinese = ([each.text for each in console(path)] for path in (ENGLISH, CHINESE))

    assert english == chinese
    assert len(english) > 10


def test_both_link_to_the_same_pages() -> None:
    def targets(path: str) -> set[str]:
        found = links((ROOT / path).read_text())
        return {link.replace(".zh.md", ".md") for link in found if "://" not in link}

    assert targets("README.md") == targets("README.zh.md")


def test_both_state_the_same_figures() -> None:
    def figures(path: str) -> list[str]:
        rows = [line for line in (ROOT / path).read_text().splitlines() if line.startswith("|")]
        return sorted(re.findall(r"\d+(?:\.\d+)?", "".join(rows)))

    assert figures("README.md") == figures("README.zh.md")


def test_the_readme_is_read_on_one_page() -> None:
    assert len(ENGLISH.read_text().splitlines()) <= 100


def test_each_door_has_three_lines() -> None:
    doors = [part for part in ENGLISH.read_text().split("\n## ") if part.startswith("I have")]

    assert [door.count("\n$ ") for door in doors] == [3, 3, 3]
