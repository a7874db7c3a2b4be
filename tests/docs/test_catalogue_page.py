"""The page on metrics is the catalogue's, in every language."""

from __future__ import annotations

import pytest

from tests.catalogue_page import file_name, page
from tests.docs.pages import ROOT
from vlamon.catalogue import LANGUAGES, known_families


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_current(language: str) -> None:
    written = (ROOT / "docs" / file_name(language)).read_text()

    assert written == page(language), "run `make pages`"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_metric_has_a_section(language: str) -> None:
    text = page(language)

    assert [name for name in known_families() if f"\n## {name}\n" not in text] == []
