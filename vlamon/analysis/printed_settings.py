"""Settings that a training printed: an argparse namespace, a configuration dump, `key=value`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Setting = Literal["clip", "vocab", "weight"]

_NUMBER = r"['\"]?\s*[=:]\s*['\"]?(\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?![\w.])"
_CLIP = r"clip_grad|max_grad_norm|grad_clip|gradient_clip_val|clip_grad_norm|grad_clip_norm"
_PRINTED = re.compile(
    rf"(?<![\w.])(?:(?P<clip>{_CLIP})|(?P<vocab>vocab_size)"
    rf"|(?P<weight>\w*loss\w*?)_weights?){_NUMBER}"
)
_ALIASES = {"ct_loss": "loss_ct", "c_loss": "closs"}


@dataclass(frozen=True, slots=True)
class PrintedSetting:
    """One setting as the log prints it."""

    setting: Setting
    """Which setting."""
    metric: str
    """The term whose weight it is; empty for the others."""
    value: float
    """Its value."""
    where: str
    """`output.log:12, clip_grad=25.0`: the file, the line and the name there."""


def printed_settings(lines: Iterable[str], file: str) -> list[PrintedSetting]:
    """Every setting in these lines, the first mention of each: later ones may be of a part."""
    found: dict[tuple[Setting, str], PrintedSetting] = {}
    for number, text in enumerate(lines, 1):
        for match in _PRINTED.finditer(text):
            one = _printed(match, f"{file}:{number}")
            if one is not None:
                found.setdefault((one.setting, one.metric), one)
    return list(found.values())


def _printed(match: re.Match[str], place: str) -> PrintedSetting | None:
    value = float(match.group(4))
    if not math.isfinite(value):
        return None
    where = f"{place}, {match.group(0)}"
    weighed = match.group("weight")
    if weighed is not None:
        return PrintedSetting("weight", _ALIASES.get(weighed, weighed), value, where)
    if value <= 0:  # a clip of 0 is none
        return None
    if match.group("clip") is not None:
        return PrintedSetting("clip", "", value, where)
    return PrintedSetting("vocab", "", value, where) if value >= 2 else None
