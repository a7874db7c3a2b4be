"""Where things lie: the user's directories by the XDG rules, and the themes shipped with vlamon."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def config_directory() -> Path:
    """`~/.config/vlamon`, or below `$XDG_CONFIG_HOME`."""
    return _xdg("XDG_CONFIG_HOME", ".config") / "vlamon"


def user_themes_directory() -> Path:
    """Themes that the user wrote; may not exist."""
    return config_directory() / "themes"


def remembered_theme_file() -> Path:
    """Name of the theme that was chosen last; `~/.local/state/vlamon/theme` or below
    `$XDG_STATE_HOME`."""
    return _xdg("XDG_STATE_HOME", ".local/state") / "vlamon" / "theme"


def shipped_themes_directory() -> Path:
    """Themes of this version: inside the wheel, beside the package in a source tree."""
    inside = PACKAGE / "themes"
    return inside if inside.is_dir() else PACKAGE.parent / "themes"


def _xdg(variable: str, fallback: str) -> Path:
    # The specification says to ignore values that are not absolute.
    value = os.environ.get(variable, "")
    return Path(value) if os.path.isabs(value) else Path.home() / fallback
