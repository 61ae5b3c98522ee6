"""Libraries that only some kinds need, imported when one is first used."""

from __future__ import annotations

import importlib
from typing import Any

from lm.common.errors import UserError


def library(name: str, kind: str) -> Any:
    """Imports a library.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"tokenizer.kind={kind}: needs the package {name}; pip install 'lm[data]'") from error
