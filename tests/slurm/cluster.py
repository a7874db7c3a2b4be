"""A real Slurm of one node, from Debian's packages, in a directory of its own.

apt-get install slurmctld slurmd slurm-client munge
python -m tests.slurm.cluster DIRECTORY        # runs it until Ctrl-C and prints its SLURM_CONF
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scontrol", "scancel")
PATIENCE = 60.0
CPUS = 4


class NoSlurm(Exception):
    """Why it cannot run here."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that runs."""

    folder: Path
    environment: dict[str, str]
    """With SLURM_CONF, for the clients."""

    def run(self, *command: str, timeout: float = 120.0) -> str:
        """A client's output; fails with what it complained of."""
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=self.environment,
            cwd=self.folder, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout


def missing() -> str:
    """Why no Slurm can be started here; empty where one can."""
    absent = [name for name in NEEDED if _program(name) is None]
    if absent:
        return f"needs {', '.join(absent)}: apt-get install slurmctld slurmd slurm-client munge"
    return "" if os.geteuid() == 0 else "needs root, to run slurmd"


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Its daemons, until the block ends. Raises NoSlurm with their last words."""
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "slurm.conf"
    configuration.write_text(_configuration(folder))
    (folder / "cgroup.conf").write_text("")  # the plugin that fits this kernel
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    for name in ("state", "spool"):
        (folder / name).mkdir(exist_ok=True)
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    daemons: list[subprocess.Popen[bytes]] = []

    def start(name: str, *arguments: object) -> None:
        program = _program(name)
        assert program is not None
        with open(folder / f"{name}.out", "wb") as out:
            daemons.append(
                subprocess.Popen(
                    [program, *map(str, arguments)], stdout=out, stderr=out, env=environment
                )
            )

    try:
        start(
            "munged", "--foreground", "--force", "--key-file", key,
            "--socket", folder / "munge.sock", "--pid-file", folder / "munged.pid",
            "--seed-file", folder / "munge.seed", "--log-file", folder / "munged.log",
        )  # fmt: skip
        _until(lambda: (folder / "munge.sock").exists(), folder)
        start("slurmctld", "-D", "-f", configuration)
        start("slurmd", "-D", "-f", configuration)
        found = Cluster(folder, environment)
        _until(lambda: _idle(found), folder)
        yield found
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _idle(found: Cluster) -> bool:
    done = subprocess.run(
        ["sinfo", "--noheader", "--format", "%T"],
        capture_output=True, text=True, timeout=30, env=found.environment, check=False,
    )  # fmt: skip
    return done.stdout.strip() == "idle"


def _until(ready: object, folder: Path) -> None:
    assert callable(ready)
    end = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > end:
            said = [
                f"{path.name}: {path.read_text(errors='replace')[-600:]}"
                for path in sorted(folder.glob("*.out"))
            ]
            raise NoSlurm("Slurm does not start here: " + " | ".join(said))
        time.sleep(0.2)


def _configuration(folder: Path) -> str:
    host = socket.gethostname().partition(".")[0]
    return f"""\
ClusterName=vlamon
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={_port()}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1
SlurmdParameters=config_overrides
JobRequeue=1
FirstJobId={10_000 + 8 * os.getpid()}
ReturnToService=2
KillWait=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 Port={_port()} CPUs={CPUS} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def main() -> None:
    """Run it until an interrupt."""
    if why := missing():
        sys.exit(why)
    with cluster(Path(sys.argv[1]).absolute()) as found, contextlib.suppress(KeyboardInterrupt):
        print(f"export SLURM_CONF={found.environment['SLURM_CONF']}", flush=True)
        while True:
            time.sleep(1.0)


if __name__ == "__main__":
    main()
