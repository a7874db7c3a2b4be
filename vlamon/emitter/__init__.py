"""The training side: the handle that a script holds, and the thread behind it."""

from vlamon.emitter.emitter import Emitter, EmitterError

__all__ = ["Emitter", "EmitterError"]
