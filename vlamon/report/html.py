"""The report as one self-contained HTML file: no script, no font, no link to anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape

from vlamon.report.contents import Report
from vlamon.report.sentences import (
    anomaly_table,
    broken,
    convergence_sentence,
    curve_title,
    epoch_table,
    event_lines,
    files,
    left_out,
    reading_sentence,
    say,
    shares_table,
    shown_epochs,
    verdict,
)
from vlamon.report.svg import bars, chart

_COLUMNS = 8

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6575; --line: #d9dee6; --paper: #fff;
  --card: #f6f7f9; --blue: #1f6feb; --bad: #c62828; --warn: #b26a00; --good: #2e7d32; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #333b49;
  --paper: #14181f; --card: #1c222c; --blue: #6cb0ff; --bad: #ff7b72; --warn: #e3a33a;
  --good: #6fcf7a; } }
body { font: 15px/1.55 system-ui, "Noto Sans CJK SC", "PingFang SC", sans-serif; color: var(--ink);
  background: var(--paper); max-width: 900px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
.verdict { border-left: 6px solid var(--good); background: var(--card); padding: .8rem 1rem; }
.verdict.explosion { border-color: var(--bad); } .verdict.warnings { border-color: var(--warn); }
.verdict b { display: block; } .files, .note { color: var(--soft); font-size: .85rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .87rem; }
th, td { padding: .3rem .55rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; font-variant-numeric: tabular-nums; }
th { color: var(--soft); font-weight: 600; } th.word, td.word { text-align: left; }
tr.broken td { color: var(--bad); font-weight: 700; }
figure { margin: 0 0 1.2rem; } figcaption { color: var(--soft); font-size: .87rem; }
svg { width: 100%; height: auto; display: block; } svg text { font: 11px system-ui, sans-serif;
  fill: var(--soft); } text.y { text-anchor: end; } text.end { text-anchor: end; }
text.guide { text-anchor: end; fill: var(--warn); } line.grid { stroke: var(--line); }
line.guide { stroke: var(--warn); stroke-dasharray: 4 4; }
.band { fill: var(--blue); opacity: .22; }
.curve { fill: none; stroke: var(--blue); stroke-width: 1.4; stroke-linejoin: round; }
.dot { fill: var(--blue); } circle.mark { fill: none; stroke: var(--bad); stroke-width: 2; }
circle.mark.warn { stroke: var(--warn); } text.mark { fill: var(--ink); }
text.nan { fill: var(--bad); text-anchor: middle; }
svg text.legend { font-size: 12px; fill: var(--ink); }
.s0 { fill: #1f6feb; } .s1 { fill: #e3822a; } .s2 { fill: #2e9d5b; } .s3 { fill: #a855c7; }
.s4 { fill: #c0392b; } .s5 { fill: #7f8c8d; }
.diagnosis { border-left: 4px solid var(--line); padding: .1rem 0 .1rem .9rem; margin: 0 0 1.1rem; }
.diagnosis.error { border-color: var(--bad); } .diagnosis.warn { border-color: var(--warn); }
.diagnosis h3 { margin: 0; font-size: 1rem; } .diagnosis p { margin: .3rem 0; }
.diagnosis code { color: var(--soft); font-size: .8rem; font-weight: 400; }
.advice { color: var(--soft); } ul { padding-left: 1.2rem; }
"""


def as_html(report: Report) -> str:
    """The whole page."""
    lang = "zh-CN" if report.lang == "zh" else "en"
    head = [
        "<!doctype html>",
        f'<html lang="{lang}">',
        '<head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(say(report, 'title'))} · {escape(verdict(report))}</title>",
        f"<style>{_STYLE}</style></head><body>",
    ]
    return "\n".join([*head, *_body(report), "</body></html>"]) + "\n"


def _body(report: Report) -> Iterator[str]:
    yield f"<h1>{escape(say(report, 'title'))}</h1>"
    yield f'<div class="verdict {report.verdict}"><b>{say(report, f"verdict-{report.verdict}")}</b>'
    yield f"{escape(verdict(report))}</div>"
    for line in files(report):
        yield f'<div class="files">{escape(say(report, "files"))}: {escape(line)}</div>'
    if report.epochs:
        yield _heading(report, "epochs")
        header, rows = epoch_table(report, _COLUMNS)
        yield from _table(header, rows, [broken(line) for line in shown_epochs(report)])
    if report.curves:
        yield _heading(report, "curves")
        guesses = {reading.metric: reading.guess for reading in report.readings}
        for curve in report.curves:
            title = curve_title(report, curve)
            drawing = chart(curve, title, report.anomalies, guesses.get(curve.name))
            yield f"<figure>{drawing}<figcaption>{escape(title)}</figcaption></figure>"
    if report.shares is not None:
        yield _heading(report, "shares")
        yield bars(report.shares)
        yield from _table(*shares_table(report))
        notes = [say(report, "assumed")] if report.assumed_weights else []
        yield from _notes([*notes, say(report, "not-pull")])
    yield _heading(report, "anomalies")
    if report.anomalies:
        flags = [a.level == "explode" for a in report.anomalies]
        yield from _table(*anomaly_table(report), flags)
    else:
        yield f"<p>{say(report, 'none')}</p>"
    if left_out(report):
        yield from _notes([left_out(report)])
    if report.events:
        yield _heading(report, "events")
        yield from _list(event_lines(report))
    if report.convergence:
        yield _heading(report, "convergence")
        yield from _list([convergence_sentence(report, state) for state in report.convergence])
    if report.readings:
        yield _heading(report, "readings")
        yield from _list([reading_sentence(report, reading) for reading in report.readings])
    yield from _diagnoses(report)
    yield from _notes([say(report, "made-by")])


def _diagnoses(report: Report) -> Iterator[str]:
    yield _heading(report, "diagnoses")
    if not report.diagnoses:
        yield f"<p>{say(report, 'none')}</p>"
    for diagnosis in report.diagnoses:
        yield f'<div class="diagnosis {diagnosis.severity}">'
        title = f"{escape(diagnosis.title)} <code>{diagnosis.id}</code>"
        yield f"<h3>{title}</h3><p>{escape(diagnosis.evidence)}</p>"
        yield f'<p class="advice">{escape(say(report, "advice"))}: {escape(diagnosis.advice)}</p>'
        yield "</div>"
    if report.not_inverted:
        yield from _notes([say(report, "not-inverted", names=", ".join(report.not_inverted))])


def _heading(report: Report, key: str) -> str:
    return f"<h2>{escape(say(report, key))}</h2>"


def _list(lines: Sequence[str]) -> Iterator[str]:
    yield "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _notes(lines: Sequence[str]) -> Iterator[str]:
    yield from (f'<p class="note">{escape(line)}</p>' for line in lines)


def _table(
    header: Sequence[str], rows: Sequence[Sequence[str]], flags: Sequence[bool] = ()
) -> Iterator[str]:
    words = [not all(_numeric(row[i]) for row in rows) for i in range(len(header))]
    yield '<div class="wide"><table><tr>'
    yield "".join(_cell("th", text, word) for text, word in zip(header, words, strict=True))
    yield "</tr>"
    for index, row in enumerate(rows):
        mark = ' class="broken"' if index < len(flags) and flags[index] else ""
        cells = "".join(_cell("td", text, word) for text, word in zip(row, words, strict=True))
        yield f"<tr{mark}>{cells}</tr>"
    yield "</table></div>"


def _cell(tag: str, text: str, word: bool) -> str:
    kind = ' class="word"' if word else ""
    return f"<{tag}{kind}>{escape(text)}</{tag}>"


def _numeric(text: str) -> bool:
    plain = text.replace("−", "-").rstrip("×% ")
    try:
        return math.isfinite(float(plain)) if plain not in ("", "–", "+") else True
    except ValueError:
        return text in ("NaN", "inf")
