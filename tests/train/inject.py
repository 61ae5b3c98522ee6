"""Runs `lm` with a fault in it: at the n-th call of a function, what is named happens to the process or its files.

python -m tests.train.inject FAULT MODULE FUNCTION CALL {before,after} pretrain --config=...
"""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from lm import cli

ROOM_BYTES = 40_000  # what a file may grow to on a disk that is full: the metrics still fit, arrays do not
_OVERRIDES = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which root writes where nobody may


def kill() -> None:
    """Ends the process, as losing its machine would."""
    os.kill(os.getpid(), signal.SIGKILL)


def fill_disk() -> None:
    """Lets no file grow past a limit."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM_BYTES, resource.RLIM_INFINITY))


def make_read_only() -> None:
    """Takes the right to write from the checkpoints' directory, for root as well."""
    (workdir,) = (argument.removeprefix("--workdir=") for argument in sys.argv if argument.startswith("--workdir="))
    (Path(workdir) / "checkpoints").chmod(0o555)
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0, os.strerror(ctypes.get_errno())
    sets[0] &= ~_OVERRIDES
    assert libc.capset(header, sets) == 0, os.strerror(ctypes.get_errno())


FAULTS = {"kill": kill, "full disk": fill_disk, "read-only": make_read_only}


def main() -> int:
    """Puts the fault in place and runs the command."""
    fault, module, function, call, when, *command = sys.argv[1:]
    holder: Any = importlib.import_module(module)
    *path, name = function.split(".")
    for part in path:
        holder = getattr(holder, part)
    whole, calls = getattr(holder, name), []

    def faulty(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        now = len(calls) == int(call)
        if now and when == "before":
            FAULTS[fault]()
        made = whole(*arguments, **options)
        if now and when == "after":
            FAULTS[fault]()
        return made

    setattr(holder, name, faulty)
    return cli.main(command)


if __name__ == "__main__":
    sys.exit(main())
