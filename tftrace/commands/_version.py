"""What `tftrace --version` says."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version as version_of

PARTS = (
    *("capture.check._route", "capture.measure._stats", "capture.measure._prints", "capture.quick._quick"),
    *("recipes.evaluate._products", "trace._columns"),
)


def version() -> str:
    """The version, and which compiled parts are in use; what the others do is done in Python."""
    there = [part.rpartition("._")[2] for part in PARTS if _is_there(part)]
    missing = [part.rpartition("._")[2] for part in PARTS if part.rpartition("._")[2] not in there]
    said = f"compiled: {', '.join(there) or 'nothing'}"
    if there and missing:
        said += f"; in Python: {', '.join(missing)}"
    return f"{version_of('tftrace')} ({said})"


def _is_there(part: str) -> bool:
    try:
        import_module(f"{__package__.partition('.')[0]}.{part}")
    except ImportError:
        return False
    return True
