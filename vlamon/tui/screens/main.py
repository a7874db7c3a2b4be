"""The dashboard's screen."""

from __future__ import annotations

from vlamon.tui.screens.painting import PaintingScreen


class MainScreen(PaintingScreen):
    """x"""
