"""One file a command: `lm NAME` runs `lm.stages.NAME`, whose `defaults()` holds every key it reads.

A stage wires parts of the library together and holds no algorithm. The first line of its docstring is
its line in `lm --help`.
"""

from __future__ import annotations

from pathlib import Path

from lm.common import buckets
from lm.common.errors import UserError


def required_workdir(workdir: Path | None) -> Path:
    """Returns the directory a stage writes to.

    Raises:
        UserError: none was given.
    """
    if workdir is None:
        raise UserError("--workdir: not given; name the directory to write to, such as --workdir=runs/mine")
    buckets.refuse(workdir, "output")
    if workdir.exists() and not workdir.is_dir():
        raise UserError(f"--workdir={workdir}: is a file; name a directory")
    return workdir
