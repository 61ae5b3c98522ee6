"""lm: build a language model from raw text to a model that writes, in JAX."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Resolves `lm.load` on first use, so that `import lm` itself stays light (PEP 562)."""
    if name == "load":
        from lm.api import load

        return load
    raise AttributeError(f"module 'lm' has no attribute {name!r}")
