"""Panels of the dashboard, one a file."""
