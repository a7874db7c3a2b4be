"""The report as one self-contained HTML file: no script, no font, no link to anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vlamon.report.body import Bar, Block, Body, Curve, DiagnosisBlock, Items, Note, Table
from vlamon.report.svg import bars, chart
from vlamon.safe_text import html_text

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
.verdict.explosion { border-color: var(--bad); }
.verdict.warnings, .verdict.not-judged { border-color: var(--warn); }
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


def html_of(body: Body) -> str:
    """A body, set as a page."""
    return "\n".join(_lines(body)) + "\n"


def _lines(body: Body) -> Iterator[str]:
    yield "<!doctype html>"
    lang = "zh-CN" if body.lang == "zh" else "en"
    yield f'<html lang="{lang}">'
    yield '<head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{html_text(body.title)} · {html_text(body.sentence)}</title>"
    yield f"<style>{_STYLE}</style></head><body>"
    yield f"<h1>{html_text(body.title)}</h1>"
    if body.found:
        yield f'<p class="found">{html_text(body.found)}</p>'
    yield f'<div class="verdict {body.verdict}"><b>{html_text(body.head)}</b>'
    yield f"{html_text(body.sentence)}</div>"
    yield from (f'<div class="files">{html_text(file)}</div>' for file in body.files)
    for section in body.sections:
        yield f"<h2>{html_text(section.title)}</h2>"
        for block in section.blocks:
            yield from _block(block)
    yield from _block(Note(body.footer))
    yield "</body></html>"


def _block(block: Block) -> Iterator[str]:
    match block:
        case Table():
            yield from _table(block)
        case Curve(title, series, anomalies, guide):
            drawing = chart(series, title, anomalies, guide)
            yield f"<figure>{drawing}<figcaption>{html_text(title)}</figcaption></figure>"
        case Bar(shares):
            yield bars(shares)
        case Items(items) if len(items) == 1:
            yield f"<p>{html_text(items[0])}</p>"
        case Items(items):
            yield "<ul>" + "".join(f"<li>{html_text(item)}</li>" for item in items) + "</ul>"
        case Note(text):
            yield f'<p class="note">{html_text(text)}</p>'
        case DiagnosisBlock():
            yield f'<div class="diagnosis {block.severity}">'
            yield f"<h3>{html_text(block.title)} <code>{block.id}</code></h3>"
            yield f"<p>{html_text(block.evidence)}</p>"
            advice = f"{block.advice_label}: {block.advice}"
            yield f'<p class="advice">{html_text(advice)}</p></div>'


def _table(table: Table) -> Iterator[str]:
    yield '<div class="wide"><table><tr>' + _cells("th", table.header, table.numeric) + "</tr>"
    for row, flag in zip(table.rows, table.flagged, strict=True):
        mark = ' class="broken"' if flag else ""
        yield f"<tr{mark}>" + _cells("td", row, table.numeric) + "</tr>"
    yield "</table></div>"


_NUMBER, _WORD = "", ' class="word"'


def _cells(tag: str, texts: Sequence[str], numeric: Sequence[bool]) -> str:
    return "".join(
        f"<{tag}{_NUMBER if right else _WORD}>{html_text(text)}</{tag}>"
        for text, right in zip(texts, numeric, strict=True)
    )
