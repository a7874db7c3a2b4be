"""The user's directories by the XDG rules, and the themes shipped with vlamon.

`pathlib` is imported where a `Path` is returned: every start of `vlamon` looks for its settings.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def xdg(variable: str, fallback: str) -> str:
    """vlamon's directory below an XDG one, such as `~/.config/vlamon`."""
    # The specification says to ignore values that are not absolute.
    value = os.environ.get(variable, "")
    base = value if os.path.isabs(value) else os.path.join(os.path.expanduser("~"), fallback)
    return os.path.join(base, "vlamon")


def config_directory() -> str:
    """`~/.config/vlamon`, or below `$XDG_CONFIG_HOME`."""
    return xdg("XDG_CONFIG_HOME", ".config")


def state_directory() -> str:
    """`~/.local/state/vlamon`, or below `$XDG_STATE_HOME`."""
    return xdg("XDG_STATE_HOME", ".local/state")


def user_themes_directory() -> Path:
    """Themes that the user wrote; may not exist."""
    from pathlib import Path

    return Path(config_directory(), "themes")


def remembered_theme_file() -> Path:
    """Name of the theme that was chosen last."""
    from pathlib import Path

    return Path(state_directory(), "theme")


def shipped_themes_directory() -> Path:
    """Themes of this version: inside the wheel, beside the package in a source tree."""
    from pathlib import Path

    package = Path(__file__).resolve().parent
    inside = package / "themes"
    return inside if inside.is_dir() else package.parent / "themes"
