"""vlamon: see what a vision-language-action training does, and act on it, from a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlamon.emitter import Emitter as Emitter

__version__ = "0.1.0"
__all__ = ["Emitter", "__version__"]


def __getattr__(name: str) -> object:
    """Load the emitter on first use, so that `import vlamon` stays free for the command line."""
    if name == "Emitter":
        from vlamon.emitter import Emitter

        return Emitter
    raise AttributeError(f"module 'vlamon' has no attribute {name!r}")
