"""x"""

from pathlib import Path


def write(run: Path) -> Path:
    """x"""
    return run / "report.html"
