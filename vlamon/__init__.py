"""vlamon: see what a vision-language-action training does, and act on it, from a terminal."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlamon.emitter import Emitter as Emitter
    from vlamon.integrations.ambient import note as note
    from vlamon.taps import tap as tap

__version__ = "0.1.0"
__all__ = ["Emitter", "__version__", "note", "tap"]

_PUBLIC = {
    "Emitter": "vlamon.emitter",
    "note": "vlamon.integrations.ambient",
    "tap": "vlamon.taps",
}


def __getattr__(name: str) -> object:
    """Load a public name on first use, so that `import vlamon` stays free for the command line."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'vlamon' has no attribute {name!r}")
    value: object = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value
