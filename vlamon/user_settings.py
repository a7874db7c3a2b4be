"""Which settings a user can set, and the check that gives each value its type.

Every start of `vlamon` passes here, so nothing is imported before it is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vlamon.errors import nearest

ENVIRONMENT = "VLAMON_"

Kind = Literal[
    "text", "flag", "number", "count", "choice", "names", "weights", "thresholds", "keys"
]


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set."""

    name: str
    """Key of the files; `VLAMON_` and this in capitals is the variable."""
    kind: Kind
    default: Any
    help: str
    """A sentence for the example file, the man page and the docs."""
    choices: tuple[str, ...] = ()
    low: float = 0.0
    """Least number."""
    high: float = float("inf")
    """Greatest number."""
    parameter: str = ""
    """Parameter of the commands, where it is not the name."""
    inverted: bool = False
    """Whether that parameter says the opposite."""

    @property
    def variable(self) -> str:
        """The environment variable."""
        return ENVIRONMENT + self.name.upper()


SETTINGS: tuple[Setting, ...] = (
    Setting("theme", "text", None, "Colours: a shipped theme or one of your own."),
    Setting("ascii", "flag", False, "Draw with ASCII alone."),
    Setting("low_bandwidth", "flag", False, "For slow links: few colours and frames."),
    Setting("read_only", "flag", False, "Hide everything that gives commands."),
    Setting("mouse", "flag", True, "Ask the terminal for mouse events."),
    Setting("title", "flag", True, "Write the run's pulse into the terminal's title."),
    Setting("notify", "flag", True, "Send desktop notifications on alerts."),
    Setting("bell", "flag", False, "Ring the terminal's bell on alerts."),
    Setting(
        "gpu",
        "flag",
        True,
        "Show the panel of accelerators.",
        parameter="no_gpu",
        inverted=True,
    ),
    Setting(
        "axis",
        "choice",
        "step",
        "X axis to start with.",
        choices=("step", "epoch", "time", "since"),
    ),
    Setting(
        "smoothing",
        "choice",
        "auto",
        "Smoothing of the lines to start with.",
        choices=("off", "auto", "strong"),
    ),
    Setting(
        "panel",
        "choice",
        "auto",
        "Panel below the charts to start with; the key b chooses another.",
        choices=("auto", "gpu", "slots", "inspector", "diagnoses", "snapshots"),
    ),
    Setting("pinned", "names", (), "Metrics whose charts come first, in this order."),
    Setting("hidden", "names", (), "Metrics whose charts are hidden."),
    Setting("log_y", "flag", False, "Start with logarithmic y axes."),
    Setting("every", "number", 0.0, "Plain lines: at most one batch in so many seconds."),
    Setting("lang", "choice", "en", "Language of reports.", choices=("en", "zh")),
    Setting("weights", "weights", {}, "Weights of the loss terms, over those that the logs name."),
    Setting("vocab", "count", None, "Vocabulary that closs is measured against.", low=2, high=1e9),
    Setting("clip_grad", "number", None, "Gradient clipping of the run."),
    Setting("thresholds", "thresholds", {}, "Thresholds of the detector, see docs/detector.md."),
    Setting("keys", "keys", {}, "Keys of the dashboard by action, see docs/dashboard.md."),
)
BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


def parsed(setting: Setting, text: str) -> Any:
    """A variable's text as what a file would hold; a text that is neither is left for the check."""
    if setting.kind == "flag":
        words = {"1": True, "true": True, "yes": True, "on": True}
        words |= {"0": False, "false": False, "no": False, "off": False}
        return words.get(text.strip().lower(), text)
    if setting.kind == "names":
        return [name.strip() for name in text.split(",") if name.strip()]
    if setting.kind == "keys":
        given: dict[str, list[str]] = {}
        for part in filter(None, text.split(",")):
            name, _, key = part.partition("=")
            given.setdefault(name.strip(), []).append(key.strip())
        return given
    if setting.kind in ("weights", "thresholds"):
        pairs = [part.rpartition("=") for part in text.split(",") if part.strip()]
        return {name.strip(): _number(number) for name, _, number in pairs}
    return _number(text) if setting.kind in ("number", "count") else text


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def checked(setting: Setting, value: Any) -> Any:
    """The value in its own type; ValueError says what it has to be."""
    return _CHECKS[setting.kind](setting, value)


def shown(value: object) -> str:
    """A wrong value as a sentence quotes it: it may be deep, long, or have 100,000 digits."""
    import reprlib

    writer = reprlib.Repr()
    writer.maxstring = writer.maxother = 60
    try:
        return writer.repr(value)
    except ValueError:
        return "a number of thousands of digits"


def _flag(setting: Setting, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"must be true or false, not {shown(value)}")


def _text(setting: Setting, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"must be a text, not {shown(value)}")


def _choice(setting: Setting, value: Any) -> str:
    if value in setting.choices:
        return str(value)
    listed = ", ".join(setting.choices)
    hint = nearest(value, setting.choices) if isinstance(value, str) else ""
    raise ValueError(f"must be one of {listed}, not {shown(value)}{hint}")


def _in_range(setting: Setting, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and setting.low <= value <= setting.high and value <= sys.float_info.max:
        return float(value)
    raise ValueError(f"must be a number, {_span(setting)}, not {shown(value)}")


def _span(setting: Setting) -> str:
    most = "" if setting.high == float("inf") else f" and at most {setting.high:g}"
    return f"at least {setting.low:g}{most}"


def _count(setting: Setting, value: Any) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    if is_count and setting.low <= value <= setting.high:
        return int(value)
    raise ValueError(f"must be a whole number, {_span(setting)}, not {shown(value)}")


def _names(setting: Setting, value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise ValueError(f"must be a list of names, not {shown(value)}")


def _sample(setting: Setting) -> str:
    return "warn_ratio = 3" if setting.kind == "thresholds" else "loss_ct = 10"


def _weights(setting: Setting, value: Any) -> dict[str, float]:
    if isinstance(value, dict) and all(name.strip() for name in value):
        try:
            return {str(name): _in_range(setting, weight) for name, weight in value.items()}
        except ValueError:
            pass
    raise ValueError(
        f"must be a table of numbers, such as {{ {_sample(setting)} }}, not {shown(value)}"
    )


def _thresholds(setting: Setting, value: Any) -> dict[str, float]:
    from vlamon.detect.rules import THRESHOLDS, rules_with

    found = _weights(setting, value)
    for name in found:
        if name not in THRESHOLDS:
            raise ValueError(f"have no {shown(name)}{nearest(name, THRESHOLDS)}")
    try:
        rules_with(found)
    except ValueError as problem:
        raise ValueError(f"cannot be used: {problem}") from problem
    return found


def _keys(setting: Setting, value: Any) -> dict[str, tuple[str, ...]]:
    from vlamon.key_bindings import checked_keys

    if not isinstance(value, dict):
        raise ValueError(f'must be a table of keys, such as {{ quit = "Q" }}, not {shown(value)}')
    found = {}
    for name, given in value.items():
        listed = [given] if isinstance(given, str) else given
        if not isinstance(listed, list) or not all(isinstance(key, str) and key for key in listed):
            raise ValueError(
                f"must be a text or a list of texts for {name:.40}, not {shown(given)}"
            )
        found[str(name)] = tuple(listed)
    try:
        checked_keys(found)
    except ValueError as problem:
        raise ValueError(f"cannot be used: {problem}") from problem
    return found


_CHECKS: Mapping[Kind, Callable[[Setting, Any], Any]] = {
    "text": _text,
    "flag": _flag,
    "number": _in_range,
    "count": _count,
    "choice": _choice,
    "names": _names,
    "weights": _weights,
    "thresholds": _thresholds,
    "keys": _keys,
}
