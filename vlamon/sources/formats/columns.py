"""Columns below a header, set apart by spaces alone: YOLO's console, skorch, fastai.

         Epoch   gpu_mem       box       obj       cls     total    labels  img_size
          0/99     7.99G   0.09067    0.0189   0.02807    0.1376       665       640: 100%|███| 8/8
                   Class    Images    Labels         P         R    mAP@.5: 100%|███| 2/2
                     all       111       345     0.512     0.498     0.471

Each row says its epoch (or step) first. Where a bar stands behind it, the row is drawn once a batch
with the means since the epoch began, and counts when the bar is full. The line of `all` classes is
the evaluation of the epoch before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from vlamon.sources.formats import Format
from vlamon.sources.formats.rows import NUMBER, LogRow, ReaderParser, behind_logger, counted, number
from vlamon.sources.formats.settings import is_metric

_COUNTS = ("epoch", "step", "iter", "iteration")
_NAME = re.compile(r"[A-Za-z][\w/.@-]{0,60}")
_ROW = re.compile(r"\s*(\d{1,15})(?:/\d{1,15})?\s+(\S.{0,2000}?)(?::\s+(\d{1,3})%.*)?")
_PARTS = frozenset(("box", "obj", "cls", "dfl", "iou", "giou", "l1", "seg", "mask", "pose", "kobj"))
"""Parts of YOLO's loss that its console calls by a word alone."""
_NO_METRICS = frozenset(("labels", "targets", "instances", "img_size", "size", "images"))
_CLASSES = re.compile(r"\bClass +Images +\w+ +(\S.{0,400}?): +\d{1,3}%\|")
_ALL = re.compile(rf"(?:^|\s)all +\d{{1,15}} +\d{{1,15}}((?: +{NUMBER}){{1,40}})\s*$")


def _header(line: str) -> tuple[str, ...]:
    """The names of the columns, the count's first; none where the line is not a header."""
    words = line.split()
    if len(words) < 3 or words[0].lower() not in _COUNTS or not all(map(_NAME.fullmatch, words)):
        return ()
    names = tuple(f"{w}_loss" if w.lower() in _PARTS else w for w in words)
    return names if len(set(names)) == len(names) and any(map(is_metric, names)) else ()


class ColumnsReader:
    """Remembers the header, and the epoch that was read last."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._scores: tuple[str, ...] = ()
        self._count = ""
        self.fits = False
        """Whether a row below the header has its cells, complete or not."""
        self._epoch: float | None = None

    def read(self, line: str) -> Sequence[LogRow] | None:
        """The row of one line; empty where it is drawn again, or part of the table."""
        if "Class " in line and (classes := _CLASSES.search(line)) is not None:
            self._scores = _scores(classes.group(1))
        scored = _ALL.search(line) if self._scores else None
        if scored is not None:
            return self._evaluation(scored.group(1).split())
        names = _header(line)
        if names:
            self._names, self._count = names, ""
            return ()
        found = _ROW.fullmatch(line) if self._names else None
        if found is None:
            return () if "Class " in line and self._scores else None
        count, cells, bar = found.groups()
        row = self._row(count, cells.split())
        if row is None:
            return None
        self.fits = True
        if bar is not None and (bar != "100" or count == self._count):
            return ()
        self._count = count
        return row

    def rest(self) -> Sequence[LogRow]:
        """Nothing: the row of an epoch that did not end is no mean of it."""
        return ()

    def _row(self, count: str, cells: Sequence[str]) -> Sequence[LogRow] | None:
        """The row of these cells, None where they are not the header's."""
        head, *names = self._names
        if not len(names) - 1 <= len(cells) <= len(names):
            return None
        # Without its bar, a row may lack the last column.
        pairs = zip(names, map(number, cells), strict=False)
        metrics = {n: v for n, v in pairs if v is not None and n.lower() not in _NO_METRICS}
        if not any(map(is_metric, metrics)):
            return None
        if head.lower() != "epoch":
            return counted(metrics, count)
        self._epoch = float(count)
        return counted(metrics, None, self._epoch, averaged=True)

    def _evaluation(self, cells: Sequence[str]) -> Sequence[LogRow]:
        if len(cells) != len(self._scores):
            return ()
        scores = dict(zip(self._scores, map(float, cells), strict=True))
        return counted(scores, None, self._epoch, split="val")


def _scores(text: str) -> tuple[str, ...]:
    """Names such as `P R mAP50`; those of `Mask(P R mAP50)` beside a box's say so."""
    names, kind = [], ""
    for word in text.split():
        before, opened, name = word.rpartition("(")
        kind = f"{before.lower()}_" if opened else kind
        plain = name.rstrip(")")
        names.append(plain if kind in ("", "box_") else kind + plain)
    return tuple(names)


def recognises(head: bytes, path: str) -> int:
    """A header, and a row that has as many cells."""
    if not any(count in head.lower() for count in (b"epoch ", b"step ", b"iter ", b"iteration ")):
        return 0
    reader = ColumnsReader()
    for line in head.decode("utf-8", "replace").split("\n"):
        for drawn in line.split("\r"):
            if reader.read(drawn) is None and (message := behind_logger(drawn)):
                reader.read(message)
            if reader.fits:
                return 78
    return 0


FORMAT = Format(
    name="columns",
    title="columns below a header: YOLO's console, skorch, fastai",
    example="     Epoch   gpu_mem       box       obj       cls     total    labels  img_size",
    recognises=recognises,
    open=lambda path: ReaderParser(ColumnsReader()),
)
