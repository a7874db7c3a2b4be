"""Logs of strangers, where there is a folder of them: `VLAMON_WILD=DIR pytest …`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.wild import compare, files
from tests.vlamon.sources.formats.reading import rows_of
from vlamon.sources import SourceError
from vlamon.sources.formats.settings import is_code
from vlamon.sources.read_all import read_log

FILES = files()
pytestmark = pytest.mark.skipif(not FILES, reason="VLAMON_WILD is not set")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_row_with_a_loss_is_read_as_a_plain_expression_reads_it(path: Path) -> None:
    compared = compare(path)
    assert compared is not None, "second_reading.py has no reader for this file"
    assert not compared.differences


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_strangers_log_is_read_without_a_setting_or_a_false_restart(path: Path) -> None:
    try:
        found = read_log(str(path))
    except SourceError:
        return
    rows = rows_of(list(found.records))
    assert not [name for _, metrics in rows for name in metrics if is_code(name)]
    assert {getattr(record, "attempt", 0) for record in found.records} == {0}
