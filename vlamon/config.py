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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vlamon.errors import nearest
from vlamon.locations import config_directory
from vlamon.user_settings import BY_NAME, ENVIRONMENT, SETTINGS, checked, parsed, shown

if TYPE_CHECKING:
    from vlamon.detect.rules import SpikeRules

PROJECT_FILE = "vlamon.toml"
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
            values[setting.name] = Value(checked(setting, parsed(setting, text)), setting.variable)
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
            complaints.append(f"{path}: there is no setting {shown(key)}{nearest(name, BY_NAME)}.")
            continue
        if name in OF_THE_OWNER and owner not in (os.geteuid(), 0):
            complaints.append(
                f"{path}: {key} is not used, for the file belongs to uid {owner}; "
                f"put it into {user_file()}."
            )
            continue
        try:
            values[name] = Value(checked(BY_NAME[name], given), path)
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
