"""The written report on a run: its contents, its body, and the formats that set it."""

from vlamon.report.contents import Report, SourceNote, compile_report

__all__ = ["Report", "SourceNote", "compile_report"]
