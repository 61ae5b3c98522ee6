"""Which files of a folder count as source code, and why the others do not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# Written by hand in the main; data-like suffixes (json, csv, svg, ipynb) are mostly not.
_SUFFIXES = (
    ".asm .awk .bash .bat .c .cc .clj .cljs .cmake .coffee .cpp .cs .css .cu .cuh .cxx .d .dart .el .elm .erl .ex .exs "
    ".f .f90 .fs .fsx .go .gradle .groovy .h .hh .hpp .hs .htm .html .hxx .idr .java .jl .js .jsx .kt .kts .lean .lisp "
    ".lua .m .mjs .ml .mli .mm .nim .nix .pas .php .pl .pm .proto .ps1 .py .pyi .pyx .r .rb .rkt .rs .s .scala .scm "
    ".scss .sh .sol .sql .sv .swift .tcl .tex .tf .thrift .toml .ts .tsx .v .vhd .vim .vue .yaml .yml .zig .zsh"
)
_NAMES = ("CMakeLists.txt", "Dockerfile", "Gemfile", "Justfile", "Makefile", "Rakefile")
_GENERATED_FOLDERS = "__pycache__ bower_components build dist node_modules site-packages target vendor venv"
SUFFIXES = frozenset(_SUFFIXES.split())
GENERATED_FOLDERS = frozenset(_GENERATED_FOLDERS.split())
MAX_BYTES = 1_000_000


def is_code(path: Path) -> bool:
    """Tells by name alone whether a file is source code."""
    return path.suffix.lower() in SUFFIXES or path.name in _NAMES


def skip_reason(path: Path) -> str:
    """Returns why a source file does not count, or an empty string if it does; reads it to know."""
    if path.stat().st_size > MAX_BYTES:
        return f"over {MAX_BYTES // 1_000_000} MB"
    raw = path.read_bytes()
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return "not UTF-8 text"
    return "not UTF-8 text" if b"\0" in raw else ""


def walk(root: Path, pruned_folders: frozenset[str], skipped: Counter[str]) -> Iterator[Path]:
    """Yields a folder's non-empty visible files in the order of their relative paths; counts the rest in `skipped`."""
    found: list[Path] = []
    for folder, subfolders, names in os.walk(root):
        for name in list(subfolders):
            if name.startswith(".") or name in pruned_folders or name.endswith(".egg-info"):
                subfolders.remove(name)
                skipped["hidden" if name.startswith(".") else "folder(s) excluded by name"] += 1
        for name in names:
            path = Path(folder, name)
            if name.startswith("."):
                skipped["hidden"] += 1
            elif not path.is_file():  # a dangling link, a socket
                skipped["not a regular file"] += 1
            elif path.stat().st_size == 0:
                skipped["empty"] += 1
            else:
                found.append(path)
    yield from sorted(found, key=lambda path: path.relative_to(root).as_posix())
