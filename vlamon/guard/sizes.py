"""Writes sizes of memory and files for people."""


def size_text(size: float) -> str:
    """Write bytes as `1.5 GB` or `230 MB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
