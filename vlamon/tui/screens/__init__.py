"""Screens: the dashboard itself (painting, steering, main) and the dialogs over it."""
