"""A disk so small that it can be filled and emptied."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SIZE = "64m"
_PIECE = bytes(64 << 10)


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A tmpfs of our own."""

    path: Path

    @classmethod
    @contextlib.contextmanager
    def mounted(cls, path: Path) -> Iterator[SmallDisk | None]:
        """Mount one; None where that is not permitted."""
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(path)]
        try:
            mounted = subprocess.run(command, capture_output=True).returncode == 0
        except FileNotFoundError:
            mounted = False
        try:
            yield cls(path) if mounted else None
        finally:
            if mounted:
                subprocess.run(["umount", "-l", str(path)], check=True)

    def fill(self) -> None:
        """Leave not a byte."""
        with (self.path / "ballast").open("ab", buffering=0) as ballast:
            for piece in (_PIECE, b"\0"):
                with contextlib.suppress(OSError):
                    while ballast.write(piece):
                        pass

    def empty(self) -> None:
        """Give the room back."""
        (self.path / "ballast").unlink(missing_ok=True)
