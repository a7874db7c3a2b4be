"""Small files that a crash, a full disk or a power cut leaves whole: the old one or the new one."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def put_whole(path: Path, data: bytes, beside: Path, mode: int = 0o666) -> None:
    """Write `data` to `beside`, sync it, rename it to `path` and sync that; OSError where it fails.

    Without the syncs a power cut shortly after leaves an empty file under the right name.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        handle = os.open(beside, flags, mode)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise
    with contextlib.suppress(OSError):  # a file system whose directories need no sync
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
