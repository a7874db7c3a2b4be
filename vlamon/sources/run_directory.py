"""Finds the logs of a run in a directory, whichever framework wrote it.

A directory often holds several views of one training (event files, a state with every row, what the
job printed), and several trainings beside each other. One view of the newest training is taken: two
would count each row twice. What was taken, and why, is said.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vlamon.sources import SourceError
from vlamon.sources.formats import Format
from vlamon.sources.plain_text import Decoder, PlainText
from vlamon.sources.recognition import Recognition

JOURNAL = "run.vlaj"
MAIN = ("log_train.txt", "output.log")
_LOGS = (*MAIN, "log_eval_*.txt")
_ENTRIES = 3000
"""Entries of one directory that are looked at: some hold a million samples."""
_DEPTH = 3
"""Levels below the directory in which runs are looked for where it is none itself."""
_EVENT_FOLDERS = (
    *("runs", "logs", "log", "tb", "tensorboard", "tensorboard_logs", "tensorboard_log", "tf_logs"),
    *("tb_logs", "events", "summaries", "train"),
)
"""Folders of a run in which event files lie."""
_EVALUATIONS = ("validation", "val", "valid", "eval", "test")
_SNIFFED = 24
"""Text files that are opened to see whether they are logs, newest first."""
_HEAD = 1 << 20
"""Bytes of a text file that are looked at for a known line."""
_SAME_RUN = 3600.0
"""Seconds between the last writes of two views of one run: a checkpoint's state is written hours
before the last row, an older run's files days before."""
_NAMED = 3
_TEXTS = (".jsonl", ".log", ".txt", ".csv", ".tsv", ".json")
_NEVER = ("requirements", "README", "config", "args", "LICENSE", "package", "tokenizer", "vocab")
"""How the names of text files begin that no training writes its rows to."""
_JOB = re.compile(
    r"^(?P<stem>.+?)(?:\.(?:out|err|stdout|stderr)|\.[oe](?P<pbs>\d+))$|^(?:stdout|stderr)(?:\.|$)"
)
_RANK = re.compile(r"rank[_-]?\d+")
"""In the names of logs of which each rank writes one; the first rank's is the run's."""
_WANDB_RUN = re.compile(r"^(?:offline-)?run-\d{8}_\d{6}-\w+$")


@dataclass(frozen=True, slots=True)
class FoundLogs:
    """The logs of a run, as they were found in a directory."""

    paths: tuple[str, ...]
    """Files, in the order in which they are opened."""
    why: str
    """What they are."""
    others: tuple[str, ...] = ()
    """Other logs, which were left out."""

    def sentence(self, directory: str) -> str:
        """What was taken and why, for the user."""
        names = ", ".join(os.path.relpath(path, directory) for path in self.paths)
        text = f"{directory}: reading {names} ({self.why})"
        if self.others:
            left = ", ".join(os.path.relpath(path, directory) for path in self.others[:_NAMED])
            more = len(self.others) - _NAMED
            text += f"; left out: {left}" + (f" and {more} more" if more > 0 else "")
        return text


@dataclass(frozen=True, slots=True)
class _View:
    """One kind of log that was found: its runs, best first."""

    why: str
    runs: Sequence[Sequence[Path]]

    @property
    def written(self) -> float:
        return max(map(_written, self.runs[0]))


def find_logs(directory: str, *, follow: bool = False) -> FoundLogs:
    """The logs of the run in this directory, the newest of several.

    To be followed, the reference's logs even before they are all there. Raises SourceError where
    there is none.
    """
    place = Path(directory)
    views = _views(place, follow)
    if views:
        newest = max(view.written for view in views)
        chosen = next(view for view in views if view.written > newest - _SAME_RUN)
        others = [run[0] for view in views for run in view.runs if run is not chosen.runs[0]]
        return _found(chosen, others, place, follow)
    below = [view for folder in _folders(place, _DEPTH) for view in _views(folder, follow)[:1]]
    if below:
        below.sort(key=lambda view: view.written, reverse=True)
        others = [run[0] for view in below for run in view.runs if run is not below[0].runs[0]]
        return _found(below[0], others, place, follow)
    hint = ""
    if (place / JOURNAL).exists():
        hint = f" Its journal is opened with `vlamon watch {directory}`."
    raise SourceError(
        f"{directory}: no training log in this directory (looked for log_train.txt, output.log, "
        "metrics.csv, *.jsonl, event files, wandb and SwanLab runs, trainer_state.json, job "
        f"output and text logs); name the file.{hint}"
    )


def _found(view: _View, others: Sequence[Path], place: Path, follow: bool) -> FoundLogs:
    paths = [str(path) for path in view.runs[0]]
    if follow and view.why == _REFERENCE:
        home = view.runs[0][0].parent
        paths = list(dict.fromkeys([*(str(home / name) for name in MAIN), *paths]))
    why = view.why if len(view.runs) == 1 else f"{view.why}, newest of {len(view.runs)}"
    return FoundLogs(tuple(paths), why, tuple(str(path) for path in others))


def _views(place: Path, follow: bool) -> list[_View]:
    """Each kind of log of a directory, the best kind first.

    A state is written at checkpoints only, so it comes last where the run is followed.
    """
    kinds = list(_KINDS)
    if follow:
        kinds.sort(key=lambda kind: kind[1] is _trainer_states)
    found = [_View(why, runs) for why, look in kinds if (runs := look(place))]
    # Text files are opened to see what they are: only where no name tells.
    return found or [_View(why, runs) for why, look in _OPENED if (runs := look(place))]


def _reference(place: Path) -> list[list[Path]]:
    """The logs that the reference writes; all of them are one run."""
    found = _glob(place, *_LOGS)
    # W&B calls what a script printed output.log too, and keeps it in a folder of this name.
    if not found or (place.name == "files" and _is_wandb_run(place.parent)):
        return []
    return [[*found, *_glob(place, "metrics.csv")]]


def _lightning(place: Path) -> list[list[Path]]:
    """Lightning's `metrics.csv`, the highest version of the newest name first."""
    found = _glob(place, "metrics.csv", "version_*/metrics.csv", "*/version_*/metrics.csv")
    return [[path] for path in sorted(found, key=lambda p: (_number(p.parent), _written(p)))[::-1]]


def _json_lines(place: Path) -> list[list[Path]]:
    return [[path] for path in _known(_newest(_glob(place, "*.jsonl", "vis_data/*.json")))]


def _trainer_states(place: Path) -> list[list[Path]]:
    """States of Hugging Face's Trainer: the run's own, else the last checkpoint's, which has all
    rows of those before."""
    own = _glob(place, "trainer_state.json")
    kept = _glob(place, "checkpoint-*/trainer_state.json")
    return [own] if own else [[path] for path in sorted(kept, key=lambda p: _number(p.parent))[-1:]]


def _event_files(place: Path) -> list[list[Path]]:
    """TensorBoard's event files, those of one directory as one run."""
    homes = [path for path in _folders(place, 1) if path.name in _EVENT_FOLDERS]
    folders = [place, *homes, *(path for home in homes for path in _folders(home, 3))]
    found = [run for folder in folders if (run := _glob(folder, "*tfevents*"))]
    # Where training and validation have a folder each, the training's is the run.
    return sorted(
        found,
        key=lambda run: (run[0].parent.name not in _EVALUATIONS, max(map(_written, run))),
        reverse=True,
    )


def _wandb(place: Path) -> list[list[Path]]:
    """W&B's local files: the history, else what was printed, else the last values."""
    if _is_wandb_run(place):
        runs = [place]
    else:
        home = place / "wandb" if os.path.isdir(place / "wandb") else place
        latest = [home / "latest-run"] if os.path.isdir(home / "latest-run") else []
        named = [folder for folder in _folders(home, 1) if _WANDB_RUN.match(folder.name)]
        runs = [*latest, *sorted(named, key=lambda folder: folder.name.partition("run-")[2])[::-1]]
    found: list[list[Path]] = []
    seen: set[str] = set()
    for run in runs:
        real = os.path.realpath(run)
        files = _glob(run, "run-*.wandb", "files/output.log", "files/wandb-summary.json")
        files = [path for path in files if _size(path)]
        if files and real not in seen:
            seen.add(real)
            found.append(files[:1])
    return found


def _swanlab(place: Path) -> list[list[Path]]:
    """SwanLab's runs, newest first."""
    home = place / "swanlog" if os.path.isdir(place / "swanlog") else place
    found = _glob(home, "*.swanlab", "run-*/*.swanlab")
    return [[path] for path in _newest(found)]


def _job_output(place: Path) -> list[list[Path]]:
    """What jobs printed: `slurm-123.out` with its `.err`, `train.o123` with `train.e123`."""
    groups: defaultdict[str, list[Path]] = defaultdict(list)
    for folder in (place, place / "logs", place / "log", place / "slurm_logs"):
        for path in _entries(folder):
            matched = _JOB.match(path.name)
            if matched is not None and _size(path):
                job = f"{matched['stem'] or ''} {matched['pbs'] or ''}"
                groups[f"{folder} {job}"].append(path)
    runs = sorted(groups.values(), key=_age_of_job, reverse=True)[:_SNIFFED]
    return [sorted(run, key=_stdout_first) for run in runs if any(map(recognised, run))]


def _age_of_job(run: Sequence[Path]) -> tuple[float, int]:
    """Last written first; files of a copy have one time, so the job's number decides."""
    return max(map(_written, run)), _number(run[0])


def _stdout_first(path: Path) -> tuple[bool, str]:
    return bool(re.search(r"\.(?:err|stderr|e\d+)$|^stderr", path.name)), path.name


def _texts(place: Path) -> list[list[Path]]:
    """Text files that hold a line of a known format, newest first."""
    files = [path for path in _entries(place) if os.path.isfile(path) and _may_be_log(path)]
    firsts = {path for path in files if _RANK.sub("rank0", path.name) == path.name}
    kept = [path for path in files if path.with_name(_RANK.sub("rank0", path.name)) not in firsts]
    return [[path] for path in _known(_newest([*firsts, *kept]))]


def _may_be_log(path: Path) -> bool:
    name = path.name.removesuffix(".gz")
    return name.endswith(_TEXTS) and not name.startswith(_NEVER)


_REFERENCE = "the logs of one run"
_Look = Callable[[Path], list[list[Path]]]
_KINDS: Sequence[tuple[str, _Look]] = (
    (_REFERENCE, _reference),
    ("metrics of Lightning's CSVLogger", _lightning),
    ("JSON Lines", _json_lines),
    ("rows of Hugging Face's Trainer", _trainer_states),
    ("TensorBoard event files", _event_files),
    ("Weights & Biases run", _wandb),
    ("SwanLab run", _swanlab),
    ("output of a job", _job_output),
)
_OPENED: Sequence[tuple[str, _Look]] = (("a text log", _texts),)


def recognised(path: Path, *, sure: bool = False) -> Format | None:
    """The format of a file by its first megabyte; None where no line of that is known.

    `sure` leaves out lines such as `lr: 1e-4`, which a configuration has too.
    """
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rb") as file:
            data = file.read(_HEAD)
    except (OSError, EOFError, zlib.error):
        return None
    lines = PlainText().lines(Decoder().bytes_of(data, end=True))
    found = Recognition(str(path))
    return found.look(lines) or (None if sure else found.likeliest)


def _known(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths[:_SNIFFED] if recognised(path, sure=True) is not None]


def _newest(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (_written(path), path.name), reverse=True)


def _glob(place: Path, *patterns: str) -> list[Path]:
    """Files of these names, in the order of the patterns."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        with contextlib.suppress(OSError):  # a link may lead anywhere
            found |= dict.fromkeys(sorted(place.glob(pattern)))
    return [path for path in found if os.path.isfile(path)]


def _entries(place: Path) -> Iterator[Path]:
    """What lies in a directory, hidden files aside; nothing where it cannot be read."""
    try:
        with os.scandir(place) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_ENTRIES), strict=False)]
    except OSError:
        return
    yield from (place / name for name in sorted(names) if not name.startswith("."))


def _folders(place: Path, depth: int) -> Iterator[Path]:
    """The directories below, so many levels deep; links are not followed."""
    for path in _entries(place):
        if os.path.isdir(path) and not path.is_symlink():
            yield path
            if depth > 1:
                yield from _folders(path, depth - 1)


def _is_wandb_run(place: Path) -> bool:
    return bool(_WANDB_RUN.match(os.path.basename(os.path.realpath(place))))


def _number(path: Path) -> int:
    """The last number in a name: the version, the step, the job; −1 where there is none."""
    found = re.findall(r"\d+", path.name)
    return int(found[-1]) if found else -1


def _size(path: Path) -> int:
    """Bytes of a file; 0 where it is none, or a link that leads nowhere."""
    try:
        return os.path.getsize(path) if os.path.isfile(path) else 0
    except OSError:
        return 0


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
