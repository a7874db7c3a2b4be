"""A disk whose power is cut: what was not synced is lost, in whatever order the disk likes.

Follows the system calls of a process on one directory and keeps two versions of everything: what
the process sees, and what was synced. After each call `image` writes to another directory what such
a disk may hold after a power cut.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Loss = Literal["all", "data", "names", "random"]
"""What is lost of what was not synced: everything, the bytes of files alone, names alone, or of
each file and each directory what a die says."""


@dataclass(eq=False, slots=True)
class File:
    """A file's bytes."""

    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""


@dataclass(eq=False, slots=True)
class Folder:
    """A directory's names; of those before a sync none comes back."""

    names: dict[str, File | Folder] = field(default_factory=dict)
    since: list[dict[str, File | Folder]] = field(default_factory=lambda: [{}])
    """The names as they were synced, and after each change since."""

    def changed(self) -> None:
        self.since.append(dict(self.names))


class PowerCut:
    """Follows what a process does below one directory."""

    CALLS = ("open", "write", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "close")

    def __init__(self, root: Path, after: Callable[[str], None]) -> None:
        self.root = root
        self.disk = Folder()
        self._after = after
        self._handles: dict[int, tuple[File | Folder, str]] = {}

    @contextmanager
    def following(self) -> Iterator[None]:
        """While this is open; every change is told to `after` when it is made."""
        before = {name: getattr(os, name) for name in self.CALLS}
        for name, real in before.items():
            setattr(os, name, self._wrapped(name, real))
        try:
            yield
        finally:
            for name, real in before.items():
                setattr(os, name, real)

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        note = getattr(self, f"_{name}")

        def call(*arguments: Any, **options: Any) -> Any:
            made = real(*arguments, **options)
            if note(made, *arguments, **options):
                self._after(name)
            return made

        return call

    def _place(self, path: Any, dir_fd: int | None = None) -> tuple[Folder, str] | None:
        """The directory and the name in it; None for what is elsewhere."""
        if dir_fd is not None:
            held = self._handles.get(dir_fd)
            return None if held is None else (held[0], os.fspath(path))  # type: ignore[return-value]
        try:
            parts = Path(path).relative_to(self.root).parts
        except (TypeError, ValueError):
            return None
        folder = self.disk
        for part in parts[:-1]:
            folder = folder.names[part]  # type: ignore[assignment]
        return folder, parts[-1] if parts else ""

    def _open(self, made: int, path: Any, flags: int, *mode: int, dir_fd: Any = None) -> bool:
        place = self._place(path, dir_fd)
        if place is None:
            return False
        folder, name = place
        new = bool(name) and name not in folder.names
        if new:
            folder.names[name] = File()
            folder.changed()
        found = folder.names[name] if name else folder
        if flags & os.O_TRUNC and isinstance(found, File):
            found.data.clear()
        self._handles[made] = (found, name)
        return new

    def _write(self, made: int, handle: int, data: Any) -> bool:
        held = self._handles.get(handle)
        if held is not None and isinstance(held[0], File):
            held[0].data += bytes(memoryview(data).cast("B")[:made])
        return held is not None

    def _fsync(self, made: None, handle: int) -> bool:
        held = self._handles.get(handle)
        if held is not None and isinstance(held[0], File):
            held[0].synced = bytes(held[0].data)
        elif held is not None:
            held[0].since = [dict(held[0].names)]  # type: ignore[union-attr]
        return held is not None

    def _rename(self, made: None, source: Any, target: Any) -> bool:
        old, new = self._place(source), self._place(target)
        if old is None or new is None:
            return False
        new[0].names[new[1]] = old[0].names.pop(old[1])
        new[0].changed()
        if old[0] is not new[0]:
            old[0].changed()
        return True

    _replace = _rename

    def _mkdir(self, made: None, path: Any, mode: int = 0o777) -> bool:
        place = self._place(path)
        if place is not None:
            place[0].names[place[1]] = Folder()
            place[0].changed()
        return place is not None

    def _unlink(self, made: None, path: Any, dir_fd: Any = None) -> bool:
        place = self._place(path, dir_fd)
        if place is not None:
            del place[0].names[place[1]]
            place[0].changed()
        return place is not None

    _rmdir = _unlink

    def _close(self, made: None, handle: int) -> bool:
        self._handles.pop(handle, None)
        return False

    def holds(self, handle: int, kind: type[File] | type[Folder]) -> bool:
        """Whether a descriptor is of a file, or of a directory, that is followed."""
        return handle in self._handles and isinstance(self._handles[handle][0], kind)

    def image(self, target: Path, loss: Loss, dice: random.Random) -> Path:
        """Write what the disk may hold if the power is cut now."""
        self._restore(self.disk, target, loss, dice)
        return target

    def _restore(self, folder: Folder, target: Path, loss: Loss, dice: random.Random) -> None:
        target.mkdir()
        match loss:
            case "all" | "names":
                names = folder.since[0]
            case "data":
                names = folder.names
            case "random":
                names = dice.choice(folder.since)
        for name, found in names.items():
            if isinstance(found, Folder):
                self._restore(found, target / name, loss, dice)
            else:
                (target / name).write_bytes(_bytes_left(found, loss, dice))


def _bytes_left(file: File, loss: Loss, dice: random.Random) -> bytes:
    if loss == "names" or file.synced == bytes(file.data):
        return bytes(file.data)
    if loss != "random":
        return file.synced
    whole = bytes(file.data)
    some = dice.randint(len(file.synced), max(len(whole), len(file.synced)))
    zeros = whole[:some] + bytes(max(len(whole) - some, 0))  # the size is known, the bytes are not
    return dice.choice((file.synced, whole, whole[:some], zeros))
