"""Records as Parquet, for pandas, Polars, DuckDB and Spark; needs pyarrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import IO, Any

from vlamon.errors import VlamonError
from vlamon.records import Record
from vlamon.views.csv_rows import AXES, table_of

GROUP = 1 << 16
"""Rows of a row group, which are held at once."""
_WHOLE = frozenset({"attempt", "step", "first", "last"})
_TEXT = frozenset({"id", "event", "split", "severity", "text"})


def write_parquet(
    out: IO[bytes], records: Callable[[], Iterable[Record]], kind: str | None, path: str
) -> None:
    """Write the rows of a CSV with their types: float64 as it was logged, null where not logged."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as problem:
        raise VlamonError("Parquet needs pyarrow: pip install 'vlamon[parquet]'.") from problem
    chosen, header, rows = table_of(records, kind, path)
    whole, text = _WHOLE & set(AXES[chosen]), _TEXT & set(AXES[chosen])

    def cell(value: Any, name: str) -> Any:
        if value is None or name in text:
            return value
        return int(value) if name in whole else float(value)  # "nan" and "inf" are values

    kinds = {**dict.fromkeys(whole, arrow.int64()), **dict.fromkeys(text, arrow.string())}
    types = {name: kinds.get(name, arrow.float64()) for name in header}
    schema = arrow.schema(list(types.items()), metadata={"vlamon": chosen})
    with parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for group in _groups(rows):
            columns = [
                arrow.array([cell(row.get(name), name) for row in group], types[name])
                for name in header
            ]
            writer.write_table(arrow.table(columns, schema=schema))


def _groups(rows: Iterator[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    while group := list(islice(rows, GROUP)):
        yield group
