"""A real sshd on the loopback interface, with keys of its own and for this user alone."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PATIENCE = 90.0
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Ssh:
    """How to reach it."""

    options: tuple[str, ...]
    host: str

    def command(self, *extra: str) -> tuple[str, ...]:
        """ssh with options, without the host."""
        return ("ssh", *self.options, *extra)


def remote_vlamon() -> str:
    """The command line that runs this tree's vlamon in a shell at the far end."""
    return f"cd {ROOT} && PYTHONPATH={ROOT} {sys.executable} -m vlamon"


def missing() -> str:
    """Why no sshd can be run here; empty where one can."""
    sshd = shutil.which("sshd") or ("/usr/sbin/sshd" if os.path.exists("/usr/sbin/sshd") else None)
    if sshd is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        return "needs sshd, ssh and ssh-keygen"
    return ""


def _listening(sshd: str, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The daemon and its port; another test may take a free port before it does, then the next."""
    log = folder / "log"
    end = time.monotonic() + PATIENCE
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        (folder / "config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {folder}/user.pub\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
            "AllowStreamLocalForwarding yes\n"
        )
        daemon = subprocess.Popen([sshd, "-D", "-f", folder / "config", "-E", log])
        while daemon.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return daemon, port
            assert time.monotonic() < end, "sshd does not listen"
            time.sleep(0.05)
        assert "in use" in log.read_text(), log.read_text()
        assert time.monotonic() < end, log.read_text()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Ssh]:
    """Start it in `folder`, wait until it listens, stop it afterwards."""
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True
        )
    daemon, port = _listening(sshd, folder)
    try:
        options = ["-F", "none", "-p", str(port), "-i", str(folder / "user"), "-o", "BatchMode=yes"]
        options += ["-o", "StrictHostKeyChecking=no", "-o", f"UserKnownHostsFile={folder}/known"]
        options += ["-o", "LogLevel=ERROR"]
        yield Ssh(tuple(options), f"{getpass.getuser()}@127.0.0.1")
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE)
