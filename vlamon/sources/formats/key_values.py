"""Lines of `key: value` or `key=value` of any make; the last resort before giving up.

`epoch=3 step=1200 loss=0.123 lr=1e-4`, `Epoch 3, Step 1200, Loss: 0.1234`, `[epoch 3] loss: 0.12`.
"""

from __future__ import annotations

import re

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LineParser, Row, share, stamp

_PAIR = re.compile(
    rf"(?<![\w.])([A-Za-z_][\w./-]*(?: (?:loss|norm|rate|accuracy|acc))?)\s*[:=]\s*"
    rf"({NUMBER})(?:ms|s|%)?(?=$|[\s,;|\])])",
    re.IGNORECASE,
)
_COUNT = re.compile(
    r"(?<![\w.])(epoch|step|global_step|iter|iteration|batch)\s*[:=]?\s*\[?(\d+(?:\.\d+)?)",
    re.IGNORECASE,
)
_STEPS = ("global_step", "step", "iter", "iteration", "batch")
_SIGNS = ("loss", "lr", "acc", "norm", "error", "reward", "perplexity", "ppl", "mse", "mae")


def read(line: str) -> Row | None:
    """The values of one line, None where nothing in it looks like a training's metric."""
    counts = {name.lower(): float(value) for name, value in _COUNT.findall(line)}
    metrics = {
        re.sub(r"\s+", "_", name): float(value)
        for name, value in _PAIR.findall(line)
        if name.lower() not in counts
    }
    if not any(sign in name.lower() for name in metrics for sign in _SIGNS):
        return None
    step = next((int(counts[name]) for name in _STEPS if name in counts), None)
    epoch = counts.get("epoch")
    return Row(metrics, step if step is not None or epoch is None else None, epoch, stamp(line))


def recognises(head: bytes, path: str) -> int:
    """Any line with a metric; every other format is asked first."""
    return 20 if share(head, read) > 0 else 0


FORMAT = Format(
    name="key-values",
    title="lines of `key: value` or `key=value`",
    example="epoch=3 step=1200 loss=0.1234 lr=1e-4",
    recognises=recognises,
    open=lambda path: LineParser(read),
)
