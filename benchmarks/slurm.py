"""A run on a real SLURM records what a local one does, whatever is killed meanwhile.

``python -m benchmarks.slurm FOLDER`` runs ``make run`` in a clone of this project under FOLDER: one
data set of the demo with both classifiers, first on this machine, then with ``PROFILE=slurm`` and
each attack in shards on a SLURM of one node that it starts on loopback, without accounting. There
a job, the controller and Snakemake are killed. Needs root and Debian's packages ``slurm-wlm`` and
``munge``. SLURM's own jobs look for ``/etc/slurm/slurm.conf`` alone, so that file is written, and
removed at the end. Half an hour on two cores. What happened goes into ``benchmarks/slurm.json`` for
the page "On a cluster"; exit status 1 if a record differs.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from benchmarks.interruptions import (
    SETTINGS,
    clone,
    contents,
    differences,
    finish,
    pages,
    start,
)  # fmt: skip
from lib.figures.formatting import many
from lib.params import ROOT
from lib.params.errors import InputError, run_command
from lib.params.files import write_json
from lib.params.runs import hardware

CONFIGURATION = Path("/etc/slurm/slurm.conf")
MARK = "# Written by benchmarks/slurm.py"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
BOTH = tuple(word for word in SETTINGS if not word.startswith("CLASSIFIER="))
ON_SLURM = (*BOTH, "PROFILE=slurm", "attack_shards=2")
PATIENCE = 900  # seconds until a job runs
SACCT = ROOT / "profiles" / "slurm" / "without-accounting"
RESULT = ROOT / "benchmarks" / "slurm.json"


def configuration(folder: Path) -> str:
    """``slurm.conf`` of one node on loopback, its state and logs under ``folder``."""
    host, memory = socket.gethostname(), psutil.virtual_memory().total // 2**20
    return f"""{MARK}
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=300
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} RealMemory={memory}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Cluster:
    """SLURM of one node.

    Args:
        folder: for state and logs; its name without blanks.
    """

    def __init__(self, folder: Path) -> None:
        self.processes: dict[str, subprocess.Popen] = {}
        for name in ("controller", "node"):
            (folder / name).mkdir(parents=True)
        CONFIGURATION.parent.mkdir(exist_ok=True)
        CONFIGURATION.write_text(configuration(folder.resolve()), encoding="utf-8")
        sockets = Path("/run/munge")
        sockets.mkdir(exist_ok=True)
        shutil.chown(sockets, "munge", "munge")
        self.begin("munged", "runuser", "-u", "munge", "--", "munged", "--foreground")
        time.sleep(1)
        self.begin("slurmctld", "slurmctld", "-D")
        self.begin("slurmd", "slurmd", "-D")

    def begin(self, name: str, *command: str) -> None:
        """Start one of its processes."""
        quiet = subprocess.DEVNULL
        self.processes[name] = subprocess.Popen(command, stdout=quiet, stderr=quiet)

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """Send a signal to one of its processes and wait for its end."""
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait()

    def jobs(self, state: str = "all") -> list[str]:
        """Numbers of jobs in a state."""
        command = ["squeue", "--noheader", "--format=%i", f"--states={state}"]
        return subprocess.run(command, capture_output=True, encoding="utf-8").stdout.split()

    def kill(self, job: str) -> bool:
        """Kill the processes of a job; whether it has not ended by itself before."""
        if subprocess.run(["scancel", "--signal=KILL", "--full", job]).returncode:
            return False
        until(lambda: job not in self.jobs("running,completing"), self.processes["slurmd"])
        return job not in self.jobs("completed")

    def clear(self) -> int:
        """Cancel all jobs and wait for their end; how many there were."""
        left = self.jobs("running,pending")
        if left:
            subprocess.run(["scancel", *left])  # one that has just ended is an error to it
        until(lambda: not self.jobs("running,pending,completing"), self.processes["slurmd"])
        return len(left)


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """SLURM of one node, ended at the end.

    Raises:
        InputError: it cannot run here.
    """
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        raise InputError(f"{missing[0]} is missing: install slurm-wlm and munge.")
    if os.geteuid():
        raise InputError("SLURM is started by root: run this as root.")
    if CONFIGURATION.exists() and not CONFIGURATION.read_text(encoding="utf-8").startswith(MARK):
        raise InputError(f"{CONFIGURATION} is of another SLURM: use a machine without one.")
    found, before = Cluster(folder), os.environ["PATH"]
    os.environ["PATH"] = os.pathsep.join((str(SACCT), before))
    try:
        yield found
    finally:
        os.environ["PATH"] = before
        for name in reversed([*found.processes]):
            found.stop(name)
        CONFIGURATION.unlink()


def until(found: Callable[[], Any], process: subprocess.Popen) -> Any:
    """Wait until something is found, while a process is at work; what was found.

    Raises:
        SystemExit: the run has ended, or nothing was found in time.
    """
    began = time.monotonic()
    while not (value := found()):
        if process.poll() is not None or time.monotonic() - began > PATIENCE:
            sys.exit(f"{process.args[0]} ended, or nothing happened for {PATIENCE} s.")
        time.sleep(1)
    return value


def disturbed(project: Path, runs: str, slurm: Cluster) -> list[str]:
    """Run on the cluster while a job, the controller and Snakemake are killed; what was hit."""
    hit: list[str] = []
    process = start(project, runs, ON_SLURM)

    def after(count: int) -> str:
        """The youngest job at work, once there are so many pages."""
        return max(
            until(lambda: len(pages(project / runs)) >= count and slurm.jobs("running"), process),
            key=int,
        )

    def tell(what: str) -> None:
        hit.append(f"{what}, with {many(len(pages(project / runs)), 'notebook')} done")
        print(hit[-1], flush=True)

    try:
        while True:
            job = after(1)
            time.sleep(8)  # into its work
            if slurm.kill(job):
                break
        tell(f"job {job} killed")
        job = after(4)
        slurm.stop("slurmctld", signal.SIGKILL)
        tell(f"slurmctld killed while job {job} was at work")
        time.sleep(60)
        slurm.begin("slurmctld", "slurmctld", "-D")
        after(7)
        tell("Snakemake killed")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # Its jobs would go on, and hold the steps' locks.
        left = slurm.clear()
    hit[-1] += f"; it left {many(left, 'job')}, which were canceled"
    print(hit[-1], flush=True)
    finish(project, runs, ON_SLURM)
    return hit


def main(words: list[str]) -> int:
    """The command line; 1 if a record differs, else 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.slurm", description=__doc__)
    parser.add_argument("folder", type=Path, help="an empty one, for the clone")
    given = parser.parse_args(words)
    project = clone(given.folder, "project")  # in jobs Snakemake does not quote its path
    seconds = finish(project, "local", BOTH)
    print(f"local: {seconds:.0f} s, {len(pages(project / 'local'))} pages", flush=True)
    began = time.monotonic()
    with cluster(given.folder / "slurm") as slurm:
        hit = disturbed(project, "cluster", slurm)
    log = (project / "cluster.log").read_text(encoding="utf-8", errors="replace")
    jobs = log.count("has been submitted with SLURM jobid")
    found = {
        "versions": {"SLURM": _version(), "Snakemake": version("snakemake"),
                     "executor plugin": version("snakemake-executor-plugin-slurm")},
        "hardware": hardware(), "local_seconds": round(seconds),
        "seconds": round(time.monotonic() - began), "jobs": jobs, "hit": hit,
        "files": len(contents(project / "local")),
        "differences": differences(project / "local", project / "cluster"),
    }  # fmt: skip
    write_json(RESULT, found)
    print(f"SLURM: {found['seconds']} s, {jobs} jobs; ", end="")
    print("; ".join(found["differences"]) or "records are identical", flush=True)
    return int(bool(found["differences"]))


def _version() -> str:
    # Other programs do not answer without a configuration.
    said = subprocess.run(["slurmctld", "-V"], capture_output=True, encoding="utf-8").stdout
    return said.split()[-1]


if __name__ == "__main__":
    run_command(main)
