"""Small files that ask for much memory, a sample; `python -m tests.faults.bombs` opens them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.bombs import outcome


@pytest.mark.parametrize("name", ["late names in a journal", "hollow events"])
def test_a_file_that_claims_much_is_opened_in_little_memory(name: str, tmp_path: Path) -> None:
    assert outcome(name, tmp_path) == ""
