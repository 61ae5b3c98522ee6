"""`lm STAGE --config=FILE[:arg] --config.key=value --workdir=DIR`: finds the stage by name, and runs it.

Exit codes: 0 done, 2 the user's mistake (one line on standard error), 1 ours (a traceback).
"""

from __future__ import annotations

import ast
import errno
import importlib
import keyword
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

_STAGES = Path(__file__).parent / "stages"
# What the machine refuses and the user can mend.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_RUNS = ("run", "dir")  # keys that name a directory which a stage reads, and may write into
_NO_ACCESS = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}


def stages() -> dict[str, str]:
    """Returns each stage's name and one-line description, read from the sources without importing them."""
    found = {}
    for path in sorted(_STAGES.glob("[a-z]*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        found[path.stem.rstrip("_")] = doc.split("\n", 1)[0]
    return found


def module_of(stage: str) -> str:
    """Returns the module of a stage; a name that is a word of Python has `_` behind it there."""
    return f"lm.stages.{stage}{'_' if keyword.iskeyword(stage) else ''}"


def help_text() -> str:
    """Returns what `lm --help` prints."""
    width = max(map(len, stages()))
    rows = "\n".join(f"  {name:<{width}}  {line}" for name, line in stages().items())
    return (
        "lm: build a language model from raw text to a model that writes.\n\n"
        "  lm STAGE [--config=FILE[:arg]] [--config.key=value ...] [--key=value ...] [--workdir=DIR]\n\n"
        f"{rows}\n\n"
        "`lm STAGE --help` explains every key, with its default. --key=value is short for --config.key=value."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0
    if arguments[0] == "--version":
        from lm import __version__

        print(__version__)
        return 0
    from lm.common.errors import StrandedError, UserError

    try:
        return _run(arguments[0], arguments[1:])
    except StrandedError as error:
        code = _fail(arguments[0], str(error))
        sys.stdout.flush()
        os._exit(code)
    except UserError as error:
        return _fail(arguments[0], str(error))
    except OSError as error:
        if error.errno not in _NO_ROOM | _NO_ACCESS:
            raise
        remedy = "make room" if error.errno in _NO_ROOM else "grant access"
        where = error.filename or "output"
        return _fail(arguments[0], f"{where}: {error.strerror}; {remedy}, or choose another --workdir")
    except KeyboardInterrupt:
        return _fail(arguments[0], "interrupted; the same command continues where it was")


def _fail(stage: str, message: str) -> int:
    print(f"lm {stage}: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _stage_help(name: str, stage: ModuleType) -> str:
    """Returns what `lm STAGE --help` prints: the stage's account of itself, its flags, and every key."""
    from lm.common import explain

    width = shutil.get_terminal_size((120, 24)).columns
    flags = (
        ("--config=FILE[:arg]", "a Python file with get_config(arg); without one, the defaults below"),
        ("--workdir=DIR", "the directory the stage writes to, or the run that it reads"),
        ("--config.KEY=VALUE", "one key, beyond the file's; --KEY=VALUE is the same"),
    )
    rows = "\n".join(explain.row(flag, meaning, 19, width) for flag, meaning in flags)
    return f"lm {name}: {(stage.__doc__ or '').strip()}\n\n{rows}\n\n{explain.table(stage.defaults, width)}"


def _subjects(stage: ModuleType) -> list[str]:
    """Returns the keys that arguments without one are for, in order: a stage's `SUBJECT`, one or several."""
    keys = getattr(stage, "SUBJECT", ())
    return [keys] if isinstance(keys, str) else list(keys)


def _run(name: str, arguments: list[str]) -> int:
    from lm.common import config as configs
    from lm.common.errors import UserError

    if name not in stages():
        import difflib

        near = difflib.get_close_matches(name, stages(), n=1)
        raise UserError(f"no such stage{f'; did you mean `lm {near[0]}`?' if near else ''} (`lm --help` lists them)")
    stage = importlib.import_module(module_of(name))
    file, assignments, workdir = "", [], ""
    subjects = _subjects(stage)
    for argument in arguments:
        if argument in ("-h", "--help"):
            print(_stage_help(name, stage))
            return 0
        if not argument.startswith("-") and subjects:
            assignments.append((subjects.pop(0), argument))  # `lm trace runs/mine` is `lm trace --run=runs/mine`
            continue
        key, equals, value = argument.partition("=")
        if not equals and stage.defaults().get(key.removeprefix("--")) is False:
            equals, value = "=", "True"  # `--search` is `--search=True`
        if not argument.startswith("--") or not equals:
            raise UserError(f"{argument}: expected --key=value, such as --workdir=runs/mine")
        if key == "--config" and (takes := getattr(stage, "TAKES_CONFIG", "")):
            assignments.append((takes, value))
        elif key == "--config":
            file = value
        elif key == "--workdir":
            workdir = value
        else:
            assignments.append((key.removeprefix("--").removeprefix("config."), value))
    config = configs.load_for(name, file, stage.defaults()) if file else stage.defaults()
    configs.override(config, assignments, stage.defaults())
    _run_at_hand(stage, config, workdir)
    return 0


def _run_at_hand(stage: ModuleType, config: Any, workdir: str) -> None:
    """Runs a stage; the directory that it writes to, and a run that it reads, may be in a bucket."""
    from lm.common import buckets

    with ExitStack() as copies:
        for key in _RUNS:
            if buckets.is_bucket(config.get(key) or ""):
                config[key] = str(copies.enter_context(buckets.at_hand(config[key])))
        stage.run(config, copies.enter_context(buckets.at_hand(workdir)) if workdir else None)


def entry() -> None:
    """Console-script entry point."""
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads, such as `| head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the flush at exit fails once more
        code = 1
    sys.exit(code)


if __name__ == "__main__":
    entry()
