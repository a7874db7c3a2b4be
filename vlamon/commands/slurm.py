"""`vlamon slurm example`: a batch script for a training that is watched, ended and requeued."""

from __future__ import annotations

import click

EXAMPLE = """\
#!/bin/bash
#SBATCH --job-name=vla
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out
#SBATCH --signal=TERM@300        # 5 min before the limit: the training writes a checkpoint and ends

# The journal lies with the run and goes on after a requeue. With the emitter's path="auto" the
# training is served at /tmp/vla-job$SLURM_JOB_ID.sock and lists itself in the home of all nodes:
#   vlamon watch --job $SLURM_JOB_ID     from the login node, through ssh
#   vlamon runs                          every run of yours
run_dir=${SCRATCH:-$HOME}/runs/$SLURM_JOB_NAME

# A train.py without a line of vlamon in it is shown through its trackers:
#   exec srun vlamon run --run-dir "$run_dir" -- torchrun --standalone --nproc-per-node=8 train.py
# exec: srun gets the signals of the job, and its exit code is the job's.
exec srun torchrun --standalone --nproc-per-node=8 train.py --run-dir "$run_dir"
"""


@click.group("slurm")
def command() -> None:
    """Help with jobs of a Slurm cluster."""


@command.command()
def example() -> int:
    """Print a batch script to start from: vlamon slurm example > train.sbatch."""
    click.echo(EXAMPLE, nl=False)
    return 0
