"""Settings: what the defaults, the user's file, the project's file and the environment say.

    ~/.config/vlamon/config.toml    the user
    vlamon.toml                     the project: the nearest one from the working directory upwards
    VLAMON_THEME=paper …            the environment
    --theme paper                   the command line, which overrides all others

A file with a mistake never keeps a run from being watched: what is wrong is a list of sentences,
the rest is used. Every start of `vlamon` passes here, so nothing is imported before it is needed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vlamon.errors import nearest
from vlamon.locations import config_directory

if TYPE_CHECKING:
    from vlamon.detect.rules import SpikeRules

PROJECT_FILE = "vlamon.toml"
ENVIRONMENT = "VLAMON_"
LARGEST = 64 << 10
"""Bytes of a settings file."""
MOST_DOTS = 200
"""Dots in a line: `tomllib` takes the square of the parts of a dotted key, 19 s for 30,000."""
MOST_COMPLAINTS = 20
"""Mistakes of one file that are named: a file of another kind has one in each line."""
LONGEST = 400
"""Characters of what is said of a mistake: it may quote what is there."""
OF_THE_OWNER = ("keys", "thresholds")
"""What a project's file sets only where it is the user's own or root's: which key gives a command,
and what counts as an explosion."""

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


@dataclass(frozen=True, slots=True)
class Value:
    """What is in force for one setting."""

    value: Any
    source: str
    """`default`, a file, or a variable."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that is in force, short of the command line."""

    values: Mapping[str, Value]
    """By name, in the order of SETTINGS."""
    files: tuple[str, ...]
    """Files that were read, the weakest first."""
    complaints: tuple[str, ...]
    """A sentence for each mistake."""

    @property
    def parameters(self) -> dict[str, Any]:
        """What was set, as defaults of the commands' parameters."""
        found: dict[str, Any] = {}
        for name, held in self.values.items():
            if held.source == "default":
                continue
            setting, value = BY_NAME[name], held.value
            if setting.kind in ("weights", "thresholds"):
                value = [f"{metric}={weight!r}" for metric, weight in value.items()]
            elif setting.kind == "keys":
                value = [f"{action}={key}" for action, keys in value.items() for key in keys]
            elif setting.kind == "names":
                value = list(value)
            found[setting.parameter or name] = not value if setting.inverted else value
        return found


def user_file() -> str:
    """The user's file; may not exist."""
    return os.path.join(config_directory(), "config.toml")


def project_file(start: str | None = None) -> str | None:
    """The nearest `vlamon.toml` from the working directory upwards, not beyond the home directory
    or the top of a repository."""
    try:
        place = os.path.abspath(start or os.getcwd())
    except FileNotFoundError:
        return None  # the working directory was removed under us
    home = os.path.expanduser("~")
    while True:
        path = os.path.join(place, PROJECT_FILE)
        if os.path.isfile(path):
            return path
        above = os.path.dirname(place)
        if above == place or place == home or os.path.exists(os.path.join(place, ".git")):
            return None
        place = above


def load(
    environ: Mapping[str, str] | None = None, start: str | None = None, only: str = ""
) -> Configuration:
    """Read the files and the environment, the strongest last.

    `only` one setting is checked where a training asks: the check of another may import a screen.
    """
    environ = os.environ if environ is None else environ
    asked = [BY_NAME[only]] if only else SETTINGS
    values = {setting.name: Value(setting.default, "default") for setting in asked}
    complaints: list[str] = []
    files = []
    for path in (user_file(), project_file(start)):
        if path is None or not os.path.isfile(path):
            continue
        files.append(path)
        found, wrong = _read(path, only)
        values |= found
        complaints += wrong[:MOST_COMPLAINTS]
        if len(wrong) > MOST_COMPLAINTS:
            complaints.append(f"{path}: there are {len(wrong) - MOST_COMPLAINTS} more mistakes.")
    for setting in asked:
        text = environ.get(setting.variable)
        if text is None or text == "":
            continue
        try:
            values[setting.name] = Value(
                _checked(setting, _parsed(setting, text)), setting.variable
            )
        except ValueError as problem:
            complaints.append(f"{setting.variable} {str(problem)[:LONGEST]}.")
    return Configuration(values, tuple(files), tuple(complaints))


def misspelt_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each variable whose name is nearly a setting's, and which sets nothing."""
    import difflib

    environ = os.environ if environ is None else environ
    names = [name for name in environ if name.startswith(ENVIRONMENT)]
    bare = {name: name.removeprefix(ENVIRONMENT).lower() for name in names}
    return [
        f"there is no variable {name} (did you mean {BY_NAME[near].variable}?)."
        for name in sorted(names)
        if bare[name] not in BY_NAME
        for near in difflib.get_close_matches(bare[name], BY_NAME, n=1, cutoff=0.8)
    ]


def rules_in_force(complain: Callable[[str], None]) -> SpikeRules:
    """The detector's rules with the thresholds that are set; a mistake in them ends no training."""
    from vlamon.detect.rules import rules_with

    found = load(only="thresholds")
    for complaint in found.complaints:
        complain(f"{complaint[:-1]}: the shipped thresholds judge")
    thresholds: Mapping[str, float] = found.values["thresholds"].value
    return rules_with(thresholds)


def _read(path: str, only: str) -> tuple[dict[str, Value], list[str]]:
    import tomllib

    try:
        text, owner = _text_of(path)
        document = tomllib.loads(text.decode())
    except OSError as problem:
        return {}, [f"{path} cannot be read: {problem.strerror}."]
    except (ValueError, RecursionError) as problem:
        return {}, [f"{path} is not TOML: {str(problem)[:LONGEST]}."]
    values: dict[str, Value] = {}
    complaints = []
    for key, given in document.items():
        name = key.replace("-", "_")
        if only not in ("", name):
            continue
        if name not in BY_NAME:
            complaints.append(f"{path}: there is no setting {_shown(key)}{nearest(name, BY_NAME)}.")
            continue
        if name in OF_THE_OWNER and owner not in (os.geteuid(), 0):
            complaints.append(
                f"{path}: {key} is not used, for the file belongs to uid {owner}; "
                f"put it into {user_file()}."
            )
            continue
        try:
            values[name] = Value(_checked(BY_NAME[name], given), path)
        except ValueError as problem:
            complaints.append(f"{path}: {key} {str(problem)[:LONGEST]}.")
    return values, complaints


def _text_of(path: str) -> tuple[bytes, int]:
    """A file's bytes and its owner. Raises OSError, ValueError where it is too large."""
    # Another user may have put a pipe, a device or a link to one there.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ValueError(f"it has more than {LARGEST} bytes")
        if any(row.count(b".") > MOST_DOTS for row in text.split(b"\n")):
            raise ValueError(f"a line has more than {MOST_DOTS} dots")
        return text, os.fstat(file.fileno()).st_uid


def _parsed(setting: Setting, text: str) -> Any:
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


def _checked(setting: Setting, value: Any) -> Any:
    """The value in its own type; ValueError says what it has to be."""
    return _CHECKS[setting.kind](setting, value)


def _shown(value: object) -> str:
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
    raise ValueError(f"must be true or false, not {_shown(value)}")


def _text(setting: Setting, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError(f"must be a text, not {_shown(value)}")


def _choice(setting: Setting, value: Any) -> str:
    if value in setting.choices:
        return str(value)
    listed = ", ".join(setting.choices)
    hint = nearest(value, setting.choices) if isinstance(value, str) else ""
    raise ValueError(f"must be one of {listed}, not {_shown(value)}{hint}")


def _in_range(setting: Setting, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and setting.low <= value <= setting.high and value <= sys.float_info.max:
        return float(value)
    raise ValueError(f"must be a number, {_span(setting)}, not {_shown(value)}")


def _span(setting: Setting) -> str:
    most = "" if setting.high == float("inf") else f" and at most {setting.high:g}"
    return f"at least {setting.low:g}{most}"


def _count(setting: Setting, value: Any) -> int:
    is_count = isinstance(value, int) and not isinstance(value, bool)
    if is_count and setting.low <= value <= setting.high:
        return int(value)
    raise ValueError(f"must be a whole number, {_span(setting)}, not {_shown(value)}")


def _names(setting: Setting, value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise ValueError(f"must be a list of names, not {_shown(value)}")


def _sample(setting: Setting) -> str:
    return "warn_ratio = 3" if setting.kind == "thresholds" else "loss_ct = 10"


def _weights(setting: Setting, value: Any) -> dict[str, float]:
    if isinstance(value, dict) and all(name.strip() for name in value):
        try:
            return {str(name): _in_range(setting, weight) for name, weight in value.items()}
        except ValueError:
            pass
    raise ValueError(
        f"must be a table of numbers, such as {{ {_sample(setting)} }}, not {_shown(value)}"
    )


def _thresholds(setting: Setting, value: Any) -> dict[str, float]:
    from vlamon.detect.rules import THRESHOLDS, rules_with

    found = _weights(setting, value)
    for name in found:
        if name not in THRESHOLDS:
            raise ValueError(f"have no {_shown(name)}{nearest(name, THRESHOLDS)}")
    try:
        rules_with(found)
    except ValueError as problem:
        raise ValueError(f"cannot be used: {problem}") from problem
    return found


def _keys(setting: Setting, value: Any) -> dict[str, tuple[str, ...]]:
    from vlamon.key_bindings import checked_keys

    if not isinstance(value, dict):
        raise ValueError(f'must be a table of keys, such as {{ quit = "Q" }}, not {_shown(value)}')
    found = {}
    for name, given in value.items():
        listed = [given] if isinstance(given, str) else given
        if not isinstance(listed, list) or not all(isinstance(key, str) and key for key in listed):
            raise ValueError(
                f"must be a text or a list of texts for {name:.40}, not {_shown(given)}"
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
