"""The same log, written another way, has the same values at the same steps."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.vlamon.sources.formats import test_blocks as blocks
from tests.vlamon.sources.formats import test_columns as columns
from tests.vlamon.sources.formats import test_framework_lines as lines
from tests.vlamon.sources.formats.reading import rows_of
from tests.vlamon.sources.formats.test_csv_table import SB3
from tests.vlamon.sources.formats.test_progress_bar import lightning
from vlamon.records import EpochRow
from vlamon.sources import SourceError
from vlamon.sources.logfile import LogFile
from vlamon.sources.read_all import read_log

LOGS = Path(__file__).parents[3] / "fixtures" / "logs"
NOISE = (
    "WARNING something weird happened",
    "",
    "Saving the model to /tmp/x ...",
    "  warnings.warn(",
)
TEXTS = {
    "mmengine": lines.MMENGINE,
    "mmcv": lines.MMCV,
    "detectron2": lines.DETECTRON2,
    "megatron": lines.MEGATRON,
    "torchtitan": lines.TITAN,
    "verl": lines.VERL,
    "llm.c": lines.LLM_C,
    "fairseq": lines.FAIRSEQ,
    "fairseq objects": lines.FAIRSEQ_JSON,
    "olmo": lines.OLMO,
    "composer": lines.COMPOSER,
    "act": lines.ACT,
    "tables": blocks.TABLES,
    "darts": columns.DARTS,
    "columns": columns.YOLO,
    "bars": columns.BARS,
    "json-blocks": blocks.BLOCKS,
    "progress-bar": "\n".join("\r".join(drawn) for drawn in lightning()) + "\n",
    "progress.csv": SB3,
    **{
        name: (LOGS / name).read_text()
        for name in (
            "lerobot.log",
            "openpi_jax.log",
            "nanogpt.log",
            "key_values.log",
            "metrics.csv",
        )
    },
}
WHOLE = frozenset(("json-blocks", "olmo", "composer", "act"))
"""Logs whose rows take lines that belong together: nothing may stand between those."""


def coloured(text: str) -> bytes:
    return re.sub(r"\S+", lambda word: f"\x1b[38;5;208m{word.group()}\x1b[0m", text).encode()


def ranked(text: str) -> bytes:
    return b"".join(b"[rank0]:" + line for line in text.encode().splitlines(keepends=True))


def logged(text: str) -> bytes:
    return "\n".join(
        f"2025-11-20 10:00:00,123 - INFO - {line}" for line in text.split("\n")
    ).encode()


def logged_by_loguru(text: str) -> bytes:
    front = "2025-11-20 10:00:00.123 | INFO     | train:main:45 - "
    return "\n".join(front + line for line in text.split("\n")).encode()


def of_ray(text: str) -> bytes:
    return "".join(f"\x1b[36m(TaskRunner pid=12)\x1b[0m {s}\n" for s in text.splitlines()).encode()


def interleaved(text: str) -> bytes:
    rng = random.Random(0)
    out = []
    for line in text.split("\n"):
        out += [rng.choice(NOISE)] * rng.randint(0, 2) + [line]
    return "\n".join(out).encode()


VARIANTS: dict[str, Callable[[str], bytes]] = {
    "coloured": coloured,
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16 with CRLF": lambda text: text.replace("\n", "\r\n").encode("utf-16"),
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "rank prefix": ranked,
    "Ray prefix": of_ray,
    "logger prefix": logged,
    "loguru prefix": logged_by_loguru,
    "interleaved": interleaved,
}


def values(data: bytes, folder: Path) -> list[object]:
    log = folder / "x.log"
    log.write_bytes(data)
    return shown(read_log(str(log)).records)


def shown(records: object) -> list[object]:
    found = list(records)  # type: ignore[call-overload]
    held_out = [((r.split, r.step), r.metrics) for r in found if isinstance(r, EpochRow)]
    # NaN equals itself here, and the order of names says nothing.
    return [f"{at} {sorted(row.items())}" for at, row in (*rows_of(found), *held_out)]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", TEXTS)
def test_a_log_written_another_way_has_the_same_values(
    name: str, variant: str, tmp_path: Path
) -> None:
    if variant == "interleaved" and (name in WHOLE or name.endswith(".csv")):
        pytest.skip("its lines belong together")
    if variant.startswith("log") and (name in WHOLE or name.endswith(".csv") or name == "bars"):
        pytest.skip("no logger writes what is printed in several lines, or a table")
    text = TEXTS[name]
    plain = values(text.encode(), tmp_path)
    assert plain
    assert values(VARIANTS[variant](text), tmp_path) == plain


@pytest.mark.parametrize("name", TEXTS)
def test_a_log_that_ends_early_has_the_first_of_its_values(name: str, tmp_path: Path) -> None:
    text = TEXTS[name]
    whole = _rows(tmp_path, [text])
    lines = text.splitlines(keepends=True)
    begun = next(n for n in range(1, len(lines) + 1) if _rows(tmp_path, lines[:n]))
    for end in range(begun, len(lines), max(1, len(lines) // 9)):
        found = _rows(tmp_path, lines[:end])
        # The last row of a cut block may lack values; none may be another.
        assert found[:-1] == whole[: len(found) - 1]
        assert found[-1][0] == whole[len(found) - 1][0]
        assert found[-1][1].items() <= whole[len(found) - 1][1].items()


def _written(folder: Path, text: str) -> Path:
    log = folder / "y.log"
    log.write_text(text)
    return log


def _rows(folder: Path, lines: list[str]) -> list[tuple[int, dict[str, str]]]:
    try:
        found = read_log(str(_written(folder, "".join(lines))))
    except SourceError:
        return []
    return [(step, {n: repr(v) for n, v in row.items()}) for step, row in rows_of([*found.records])]


@pytest.mark.parametrize("name", TEXTS)
def test_a_log_that_grows_in_odd_pieces_has_the_same_values(name: str, tmp_path: Path) -> None:
    data = TEXTS[name].encode()
    plain = values(data, tmp_path)
    log = tmp_path / "growing.log"
    log.write_bytes(b"")
    source = LogFile(str(log))
    records = []
    try:
        for at in range(0, len(data), max(37, len(data) // 20)):
            with log.open("ab") as file:
                file.write(data[at : at + max(37, len(data) // 20)])
            records += source.read(0.0)
        records += source.read(0.0)
        assert source.parser is not None
        records += source.parser.finish()
    finally:
        source.close()
    assert shown(records) == plain
