"""`events.jsonl`: what happened to a run beside its steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lm.common import cluster

EVENTS = "events.jsonl"


def write(directory: Path, event: dict[str, Any]) -> None:
    """Adds a line to a run's events, in the process that writes for all."""
    if cluster.is_first():
        with (directory / EVENTS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event) + "\n")
