"""Checks of what lies on disk: sockets, watches, run directories, settings."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator

from vlamon.doctor.facts import CheckResult, Facts

LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path."""
LEAST_FREE = 10 << 30
"""Bytes below which a checkpoint of a model of any size may not fit."""
LEAST_DESCRIPTORS = 256
SKEW = 2.0
"""Seconds between two clocks that show in ages and in the order of events."""
REMOTE = ("nfs", "nfs4", "lustre", "cifs", "smb3", "fuse.sshfs", "beegfs", "gpfs", "ceph", "9p")


def sockets(facts: Facts) -> Iterator[CheckResult]:
    """Where trainings serve, and whether a name that was set leads anywhere."""
    named = facts.environ.get("VLAMON_SOCKET")
    if named and not os.path.exists(named):
        text = f"VLAMON_SOCKET names {named}, and nothing is there"
        yield CheckResult("socket", "warn", text, "unset VLAMON_SOCKET")
    runtime = facts.environ.get("XDG_RUNTIME_DIR", "")
    own = f"/run/user/{os.getuid()}"
    if not runtime:
        text = "XDG_RUNTIME_DIR is not set: trainings are looked for in /tmp/vla*.sock alone"
        fix = f"export XDG_RUNTIME_DIR={own}" if os.path.isdir(own) else ""
        yield CheckResult("socket", "note", text, fix)
        return
    folder = os.path.join(runtime, "vlamon")
    try:
        found = os.stat(runtime)
    except OSError:
        text = f"XDG_RUNTIME_DIR names {runtime}, which does not exist"
        yield CheckResult("socket", "warn", text, f"mkdir -m 700 {runtime}")
        return
    if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        text = f"{runtime} is not yours alone: others could pose as your training"
        yield CheckResult("socket", "warn", text, f"export XDG_RUNTIME_DIR={own}")
    elif not os.access(runtime, os.W_OK | os.X_OK):
        yield CheckResult("socket", "warn", f"{runtime} cannot be written", f"chmod 700 {runtime}")
    elif len(os.fsencode(folder)) + len("/x.sock") > LONGEST_SOCKET:
        text = f"{folder} is too long for a socket ({LONGEST_SOCKET} bytes in all)"
        yield CheckResult("socket", "warn", text, f"export XDG_RUNTIME_DIR={own}")
    else:
        yield CheckResult("socket", "ok", folder)


def inotify(facts: Facts) -> Iterator[CheckResult]:
    """Whether a log can be followed without asking for news four times a second."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        descriptor = libc.inotify_init1(os.O_CLOEXEC)
    except AttributeError:
        yield CheckResult("inotify", "note", "not on this system: logs are polled")
        return
    limit = facts.read("/proc/sys/fs/inotify/max_user_instances").strip() or "?"
    if descriptor >= 0:
        os.close(descriptor)
        yield CheckResult("inotify", "ok", f"{limit} instances a user")
    elif ctypes.get_errno() == errno.EMFILE:
        text = f"all {limit} instances of this user are taken: logs are polled"
        yield CheckResult("inotify", "warn", text, "sudo sysctl fs.inotify.max_user_instances=1024")
    else:
        problem = os.strerror(ctypes.get_errno())
        yield CheckResult("inotify", "note", f"{problem}: logs are polled")


def descriptors(facts: Facts) -> Iterator[CheckResult]:
    """Whether several runs can be open at once."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < LEAST_DESCRIPTORS:
        yield CheckResult("files", "warn", f"{soft} open files at most", "ulimit -n 4096")
    else:
        shown = "unlimited" if soft == resource.RLIM_INFINITY else str(soft)
        yield CheckResult("files", "ok", f"{shown} open files")


def directories(facts: Facts) -> Iterator[CheckResult]:
    """Room, file system and clock of the directories that runs are written to."""
    for directory in facts.directories:
        try:
            place = os.path.abspath(directory)
        except FileNotFoundError:
            yield CheckResult("disk", "warn", "the working directory was removed", "cd")
            continue
        try:
            free = shutil.disk_usage(place).free
        except OSError as problem:
            text = f"{place}: {problem.strerror}"
            yield CheckResult("disk", "warn", text, f"mkdir -p {place}")
            continue
        if free < LEAST_FREE:
            text = f"{place}: {free / 2**30:.1f} GiB free; a checkpoint may not fit"
            yield CheckResult(
                "disk", "warn", text, f"du -xh --max-depth=2 {place} | sort -h | tail"
            )
        else:
            yield CheckResult("disk", "ok", f"{place}: {free / 2**30:,.0f} GiB free")
        system = _file_system(facts.read("/proc/self/mounts"), place)
        if system in REMOTE:
            text = f"{place} is on {system}: logs there are polled, changes of others show late"
            yield CheckResult("disk", "note", text)
        yield from _clock(place)


def _file_system(mounts: str, place: str) -> str:
    """Type of the file system that a path lies on."""
    best, kind = "", ""
    for mount in mounts.splitlines():
        fields = mount.split(" ")
        if len(fields) < 3:
            continue
        point = fields[1].replace("\\040", " ")
        below = place == point or place.startswith(point.rstrip("/") + "/")
        if below and len(point) >= len(best):
            best, kind = point, fields[2]
    return kind


def _clock(place: str) -> Iterator[CheckResult]:
    """Whether the file system keeps the same time: a server's own clock stamps what is written."""
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            before = time.time()
            file.write(b"x")
            file.flush()
            skew = os.fstat(file.fileno()).st_mtime - before
    except OSError as problem:
        fix = f"chmod u+w {place}" if problem.errno == errno.EACCES else ""
        text = f"{place} cannot be written: {problem.strerror}"
        yield CheckResult("disk", "warn" if fix else "note", text, fix)
        return
    if abs(skew) > SKEW:
        text = f"{place} is stamped {skew:+.1f} s from this machine's clock: ages are wrong by that"
        yield CheckResult("clock", "warn", text, "sudo timedatectl set-ntp true")
    else:
        yield CheckResult("clock", "ok", f"{place} is stamped within {SKEW:g} s")


def settings(facts: Facts) -> Iterator[CheckResult]:
    """Mistakes in settings files and in themes."""
    from vlamon import config
    from vlamon.tui.themes import load_themes

    complaints = [*config.load(facts.environ).complaints, *load_themes().complaints]
    complaints += config.misspelt_variables(facts.environ)
    for complaint in complaints:
        yield CheckResult("settings", "warn", complaint, "vlamon config")
    if not complaints:
        yield CheckResult("settings", "ok", "no mistakes")
