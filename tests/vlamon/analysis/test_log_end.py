"""What the last lines of a log say of the end of its run."""

from __future__ import annotations

import pytest

from vlamon.analysis.log_end import log_end

ROW = "step 100: loss 2.5"
TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "train.py", line 3, in <module>',
    "    step()",
    "ValueError: shapes differ",
]
CHILD = "torch.distributed.elastic.multiprocessing.errors.ChildFailedError: "


@pytest.mark.parametrize(
    ("lines", "kind", "said"),
    [
        (["Loss is nan, stopping training"], "nan", "Loss is nan"),
        (["torch.OutOfMemoryError: CUDA out of memory. Tried"], "out-of-memory", "CUDA"),
        (["slurmstepd: error: Detected 1 oom_kill event"], "out-of-memory", "oom_kill"),
        (["[E1] Watchdog caught collective operation timeout: WorkNCCL"], "nccl", "Watchdog"),
        (["slurmstepd: error: *** JOB 7 CANCELLED AT 2025 DUE TO TIME LIMIT ***"], "killed", "JOB"),
        (["torch...SignalException: Process 1 got signal: 15"], "killed", "signal: 15"),
        (["Killed"], "killed", "Killed"),
        (TRACEBACK, "traceback", "ValueError: shapes differ"),
    ],
)
def test_the_cause_is_named_with_the_line_that_says_it(
    lines: list[str], kind: str, said: str
) -> None:
    end = log_end([ROW, *lines])
    assert end is not None
    assert end.kind == kind
    assert said in end.line


def test_the_launcher_s_own_error_hides_no_cause() -> None:
    lines = [*TRACEBACK, "Sending process 7 closing signal SIGTERM", TRACEBACK[0], CHILD]
    end = log_end(lines)
    assert end is not None
    assert (end.kind, end.line) == ("traceback", "ValueError: shapes differ")


NCCL = "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp"
CANCELLED = "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01T00:00:00 ***"
PREEMPTED = CANCELLED.replace(" ***", " DUE TO PREEMPTION ***")


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (
            ["W1 Received Signals.SIGTERM death signal, shutting down workers", *TRACEBACK, NCCL],
            "killed",
        ),
        ([*TRACEBACK, "KeyboardInterrupt", PREEMPTED], "killed"),
        ([NCCL, PREEMPTED], "killed"),
        ([NCCL, CANCELLED], "nccl"),
        ([CANCELLED, NCCL], "killed"),
    ],
)
def test_a_scheduler_s_kill_is_no_crash_and_a_hang_that_was_cancelled_is(
    lines: list[str], kind: str
) -> None:
    end = log_end([ROW, *lines])
    assert end is not None
    assert end.kind == kind


def test_a_run_that_trains_on_did_not_end_in_an_error_that_it_caught() -> None:
    assert log_end([*TRACEBACK, ROW]) is None
    assert log_end([*TRACEBACK, '{"loss": 2.5, "step": 3}']) is None


@pytest.mark.parametrize("line", ["Training finished", "saved to out/", "", "killed bugs: none"])
def test_a_run_that_is_done_did_not_crash(line: str) -> None:
    assert log_end([ROW, line]) is None
