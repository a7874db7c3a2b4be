"""openpi's training lines, JAX and PyTorch.

JAX: `Step 100: grad_norm=0.5123, loss=0.1234, param_norm=1801.2345`.
PyTorch: `step=100 loss=0.1234 lr=2.50e-05 grad_norm=1.23 time=12.3s`, behind a logger's prefix.
"""

from __future__ import annotations

import re

from vlamon.sources.formats import Format
from vlamon.sources.formats.means import of_means
from vlamon.sources.formats.rows import NUMBER, LineParser, LogRow, counted, knows, stamp

_JAX = re.compile(rf"(?:^|\s)Step (\d+): (?=[\w/.-]+={NUMBER}(?:,(?!\d)|\s|$))")
_TORCH = re.compile(rf"(?:^|\s)step=(\d+) (?=loss={NUMBER}(?:\s|$))")
_PAIR = re.compile(rf"([A-Za-z_][\w/.-]*)=({NUMBER})s?(?=,(?!\d)|\s|$)")


def read(line: str) -> tuple[LogRow, ...]:
    """The values of one line, nothing if it is none of openpi's."""
    found = _JAX.search(line) or _TORCH.search(line)
    if found is None:
        return ()
    metrics = {name: float(value) for name, value in _PAIR.findall(line, found.end())}
    return counted(metrics, found.group(1), None, stamp(line[: found.start()]))


def recognises(head: bytes, path: str) -> int:
    """Any such line is openpi's."""
    return 85 if knows(head, read, b"Step ") or knows(head, read, b"step=") else 0


FORMAT = Format(
    name="openpi",
    title="openpi's training lines (JAX or PyTorch)",
    example="Step 100: grad_norm=0.5123, loss=0.1234, param_norm=1801.2345",
    recognises=recognises,
    open=of_means(lambda path: LineParser(read)),
    open_middle=of_means(lambda path: LineParser(read)),
)
