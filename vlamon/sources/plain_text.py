"""What a log says, without what was only for a terminal or says which process wrote it.

Stands between the bytes of a file and every text format: other encodings become UTF-8, escape
sequences go, and so do the marks that launchers put in front of each line (`[rank0]:`,
`[default0]:`, Ray's `(TaskRunner pid=12)`, the `0: ` of `srun --label`). Lines that another rank
repeats are dropped; what it says of its end stays.
Each step looks for its mark first, so that a log without any costs a few searches per megabyte.
"""

from __future__ import annotations

import codecs
import re
from itertools import pairwise

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_ESCAPE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?"
    rb"|[PX^_][^\x1b\n]*(?:\x1b\\)?|[ -/]*[0-~])"
)
"""CSI, OSC, other strings, and two-character sequences."""
_RANK = re.compile(
    rb"(?:\[(?:(?:default)?rank ?|default|trainer|worker_?)(\d+)\]: ?)+(?:\[titan\] )?"
)
_MARKED = re.compile(rb"(?:rank ?|default|trainer|worker_?)\d+\]:")
"""What such a mark ends in; a search that begins with letters is ten times as fast as one for the
begin of a line."""
_RAY = re.compile(rb"^\([A-Za-z_][\w.:]* (?:pid=\d+|rank=\d+)[^)\n]*\) ?", re.MULTILINE)
_LABEL = re.compile(rb" {0,5}(\d{1,5}): ?")
_TOLD = 8
"""Lines that tell whether all have a task's number in front."""
_TURNS = 3
"""Times that a lower number follows a higher one, where tasks take turns."""
_ENDS = re.compile(
    rb"(?<=[a-z])Error|Error(?!s?\W{0,20}\d)|Traceback|Exception|SIG[A-Z]+|signal:? ?\d"
    rb"|killed|Killed|out of memory|NCCL"
)
"""What another rank says of its end; `Error: 0.25` and `reward signal` are metrics."""


class Decoder:
    """Bytes in the encoding that a file's first bytes name become UTF-8; others pass untouched."""

    def __init__(self) -> None:
        self._decode: codecs.IncrementalDecoder | None = None
        self._began = False
        self._head = b""

    def bytes_of(self, data: bytes, *, end: bool = False) -> bytes:
        """The same text as UTF-8. A character that is cut waits for its rest."""
        if not self._began and (data or self._head):
            data = self._head + data
            if not end and any(mark.startswith(data) and mark != data for mark, _ in _BOMS):
                self._head = data  # half a mark says nothing yet
                return b""
            self._began = True
            for mark, name in _BOMS:
                if data.startswith(mark):
                    data = data[len(mark) :]
                    self._decode = codecs.getincrementaldecoder(name)("replace")
                    break
        if self._decode is None:
            return data
        return self._decode.decode(data, end).encode()


class PlainText:
    """The reading layer of one file; remembers which ranks have spoken."""

    def __init__(self) -> None:
        self._has_rank_0 = False
        self._tasks: frozenset[bytes] | None = None
        """Tasks that stand in front of each line; None while too few lines came to tell."""

    def lines(self, data: bytes) -> bytes:
        """Whole lines as a format should see them; as many lines, so that line numbers hold."""
        if b"\x1b" in data:
            data = _ESCAPE.sub(b"", data)
        # A single byte is found ten times as fast as two.
        if b"=" in data and (b" pid=" in data or b" rank=" in data):
            data = _RAY.sub(b"", data)
        if self._tasks is None:
            self._tasks = _tasks_of(data)
        if self._tasks:
            data = b"\n".join(map(self._unlabelled, data.split(b"\n")))
        # A pattern without one first letter is slow: it runs where single bytes allow for a mark.
        if b"]" in data and b"]:" in data and _MARKED.search(data):
            data = self._first_rank(data)
        if b"\r" in data and b"\r\n" in data:
            data = data.replace(b"\r\n", b"\n")
        return data

    def _first_rank(self, data: bytes) -> bytes:
        lines = data.split(b"\n")
        # Where rank 0 says nothing, the others are all there is.
        self._has_rank_0 = self._has_rank_0 or any(
            (found := _RANK.match(line)) is not None and not found.group(1).strip(b"0")
            for line in lines
        )
        return b"\n".join(map(self._unmarked, lines))

    def _unmarked(self, line: bytes) -> bytes:
        found = _RANK.match(line)
        if found is None:
            return line
        rest = line[found.end() :]
        repeated = found.group(1).strip(b"0") and self._has_rank_0
        if repeated and not _ENDS.search(rest):
            return b""
        # A launcher may mark each drawing of a bar.
        return rest if b"\r" not in rest else b"\r".join(map(self._unmarked, rest.split(b"\r")))

    def _unlabelled(self, line: bytes) -> bytes:
        found = _LABEL.match(line)
        if found is None or not self._tasks:
            return line
        task, rest = found.group(1), line[found.end() :]
        if len(self._tasks) == 1:
            return rest if task in self._tasks else line
        return b"" if task.strip(b"0") and not _ENDS.search(rest) else rest


def _tasks_of(data: bytes) -> frozenset[bytes] | None:
    """The tasks whose number `srun --label` put in front of these lines; None if they are too few.

    Several tasks take turns. A number that counts up is an epoch or a line, and no task.
    """
    lines = [line for line in data.split(b"\n", 1000)[:1000] if line.strip()]
    if len(lines) < _TOLD:
        return None
    found = [label.group(1) for line in lines if (label := _LABEL.match(line)) is not None]
    tasks = frozenset(found)
    turns = sum(int(later) < int(earlier) for earlier, later in pairwise(found))
    if len(found) < len(lines) or (len(tasks) > 1 and turns < _TURNS):
        return frozenset()
    return tasks
