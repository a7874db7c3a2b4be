"""Begins a training: at its start, behind a checkpoint, or where its script says."""

from __future__ import annotations

from vlamon.guard import collectives
from vlamon.guard.checkpoint.writer import DurableError, Loaded
from vlamon.guard.detection import Detection
from vlamon.guard.ledger import Ledger
from vlamon.guard.out_of_memory import NoMemory
from vlamon.guard.reporting import Reporter
from vlamon.guard.rollback import Rollback
from vlamon.guard.skips import Skips
from vlamon.guard.snapshots import Snapshots
from vlamon.guard.state.capture import StateMismatch


class Resume:
    """Takes a checkpoint up, and with it all that no rollback may restore."""

    def __init__(
        self,
        snapshots: Snapshots,
        ledger: Ledger,
        skips: Skips,
        detection: Detection,
        rollback: Rollback,
        reporter: Reporter,
    ) -> None:
        self._snapshots = snapshots
        self._ledger = ledger
        self._skips = skips
        self._detection = detection
        self._rollback = rollback
        self._reporter = reporter

    def newest(self) -> int:
        """Put the newest whole checkpoint in force: its last finished step, or -1 without one."""
        loaded = self._snapshots.checkpoints.load(self._snapshots.state)
        if loaded is None:
            return -1
        self._take_over(loaded)
        self._ledger.attempt = max(self._ledger.attempt + 1, self._reporter.attempt)
        self._reporter.set_attempt(self._ledger.attempt)
        self._rollback.apply_lr_scale(loaded.step)
        text = f"resumed after step {loaded.step} from {loaded.path}"
        self._reporter.event("resumed", loaded.step, text)
        if loaded.ranks != collectives.world():
            text = self._snapshots.checkpoints.resharded(loaded)
            self._reporter.event("note", loaded.step, text, "warn")
        return loaded.step

    def _take_over(self, loaded: Loaded) -> None:
        try:
            self._snapshots.state.restore(loaded.state)
            self._ledger.load_state_dict(loaded.meta["ledger"])
            place = loaded.meta["note"].get("place", loaded.step + 1)
            self._skips.load_state_dict(loaded.meta["skips"], place)
            self._detection.restore_climb(loaded.meta.get("climbing"))
        except NoMemory as error:
            raise DurableError(f"{loaded.path} cannot be loaded: {error}") from error
        except (StateMismatch, KeyError) as error:
            what = f"its meta lacks {error}" if isinstance(error, KeyError) else str(error)
            raise DurableError(
                f"{loaded.path} does not fit this training: {what}; resume with the version and "
                "the settings that wrote it, or begin in another run directory"
            ) from error
