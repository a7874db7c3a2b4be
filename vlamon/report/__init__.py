"""The written report on a run: what it says, apart from how it is set."""

from vlamon.report.contents import Report, SourceNote, compile_report

__all__ = ["Report", "SourceNote", "compile_report"]
