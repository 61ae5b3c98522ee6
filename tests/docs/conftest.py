"""The handbook's build scripts, imported as `python docs/build.py` does it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

DOCS = Path(__file__).parents[2] / "docs"
MODULES = ("snippets", "curation_view", "run_view", "curation_facts", "facts", "figures", "build")


@pytest.fixture(scope="package")
def handbook() -> Iterator[SimpleNamespace]:
    """The scripts as one namespace, and `folder`, where they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield SimpleNamespace(folder=DOCS, **{name: importlib.import_module(name) for name in MODULES})
    for name in MODULES:  # their names are common ones
        del sys.modules[name]
