"""The documentation site: built strictly where mkdocs is installed, and without the network."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

NAVIGATION = re.findall(r": ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)


def test_the_navigation_names_pages_that_exist_once_each() -> None:
    assert [name for name in NAVIGATION if not (ROOT / "docs" / name).is_file()] == []
    assert len(NAVIGATION) == len(set(NAVIGATION)) > 20


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    out = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_it_is_built_without_a_warning_and_has_every_page(site: Path) -> None:
    assert (site / "index.html").is_file()
    assert (site / "catalogue.zh.html").is_file()
    assert (site / "pictures" / "demo.gif").is_file()


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|img|link)[^>]* (?:src|href)="?(https?://[^"\s>]+)', page.read_text()
        )
        assert loaded == [], page
