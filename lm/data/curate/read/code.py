"""Source code: its language by the file's name, its licence by the header it bears."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from lm.data.curate.read.files import File
from lm.data.curate.read.records import Found, Options, Refused, whole
from lm.data.curate.read.streams import compression
from lm.data.curate.read.text import decoded

_LANGUAGES = {
    "asm": ".asm .s",
    "awk": ".awk",
    "batch": ".bat",
    "c": ".c .h",
    "c#": ".cs",
    "c++": ".cc .cpp .cxx .hh .hpp .hxx",
    "clojure": ".clj .cljs",
    "cmake": ".cmake CMakeLists.txt",
    "coffeescript": ".coffee",
    "css": ".css",
    "cuda": ".cu .cuh",
    "d": ".d",
    "dart": ".dart",
    "dockerfile": "Dockerfile",
    "elixir": ".ex .exs",
    "elm": ".elm",
    "emacs lisp": ".el",
    "erlang": ".erl",
    "f#": ".fs .fsx",
    "fortran": ".f .f90",
    "go": ".go",
    "groovy": ".gradle .groovy",
    "haskell": ".hs",
    "html": ".htm .html",
    "idris": ".idr",
    "java": ".java",
    "javascript": ".js .jsx .mjs",
    "julia": ".jl",
    "just": "Justfile",
    "kotlin": ".kt .kts",
    "lean": ".lean",
    "lisp": ".lisp",
    "lua": ".lua",
    "makefile": ".mk Makefile",
    "matlab": ".m",
    "nim": ".nim",
    "nix": ".nix",
    "objective-c++": ".mm",
    "ocaml": ".ml .mli",
    "pascal": ".pas",
    "perl": ".pl .pm",
    "php": ".php",
    "powershell": ".ps1",
    "protobuf": ".proto",
    "python": ".py .pyi",
    "cython": ".pyx",
    "r": ".r",
    "racket": ".rkt",
    "ruby": ".rb Gemfile Rakefile",
    "rust": ".rs",
    "scala": ".scala",
    "scheme": ".scm",
    "scss": ".scss",
    "shell": ".bash .sh .zsh",
    "solidity": ".sol",
    "sql": ".sql",
    "swift": ".swift",
    "systemverilog": ".sv",
    "tcl": ".tcl",
    "terraform": ".tf",
    "tex": ".tex",
    "thrift": ".thrift",
    "toml": ".toml",
    "typescript": ".ts .tsx",
    "verilog": ".v",
    "vhdl": ".vhd",
    "vim script": ".vim",
    "vue": ".vue",
    "yaml": ".yaml .yml",
    "zig": ".zig",
}
_BY_NAME = {name: language for language, names in _LANGUAGES.items() for name in names.split()}
_HEADER_CHARACTERS = 8192
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([^\s*/<>\"'#-][^\n*\"'<>#]*?)\s*(?:\*/|-->|[\"'*#<\n]|$)")
_SPACE = re.compile(r"[\s*/#;%!\"'-]+")
# What a licence says of itself in headers, the most particular first; read with comment signs as spaces.
_LICENCES = (
    ("Apache-2.0", r"Licensed under the Apache License,? Version 2\.0|apache\.org licenses LICENSE 2\.0"),
    ("MPL-2.0", r"Mozilla Public License,? (?:v\. |version )2\.0"),
    ("AGPL-3.0", r"GNU Affero General Public License"),
    ("LGPL-3.0", r"GNU (?:Lesser|Library) General Public License.{0,120}version 3"),
    ("LGPL-2.1", r"GNU (?:Lesser|Library) General Public License"),
    ("GPL-3.0", r"GNU General Public License.{0,120}version 3"),
    ("GPL-2.0", r"GNU General Public License.{0,120}version 2"),
    ("MIT", r"Permission is hereby granted, free of charge, to any person|(?:under|the) (?:the )?MIT license"),
    (
        "ISC",
        r"Permission to use, copy, modify, and(?: or)? distribute this software for any purpose with or without fee",
    ),
    (
        "BSD-3-Clause",
        r"Redistribution and use in source and binary forms.{0,1500}(?:endorse or promote|specific prior)",
    ),
    ("BSD-2-Clause", r"Redistribution and use in source and binary forms"),
    ("BSD", r"(?:governed by|under) a BSD style licen[sc]e"),
    ("Unlicense", r"This is free and unencumbered software released into the public domain"),
    ("CC0-1.0", r"CC0 1\.0|creativecommons\.org publicdomain zero"),
)
_KNOWN = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _LICENCES)


def read(file: File, options: Options) -> Iterator[Found | Refused]:
    """Yields the file's text as it is, with `language_code` and, where its header names one, `licence`."""
    raw = whole(file, options.max_record_bytes)
    record = raw if isinstance(raw, Refused) else decoded(raw)
    if isinstance(record, Refused):
        yield record
        return
    named = {"language_code": language(file.name), "licence": licence(record.text)}
    yield Found(record.text, {**record.meta, **{key: value for key, value in named.items() if value}})


def language(name: str) -> str:
    """Returns the programming language a file name stands for, in lower case; empty if it names none."""
    path = PurePosixPath(name[: len(name) - len(compression(name))])
    return _BY_NAME.get(path.name) or _BY_NAME.get(path.suffix.lower(), "")


def licence(text: str) -> str:
    """Returns the SPDX expression in the header of a source file, or the licence its words are known to be of."""
    header = text[:_HEADER_CHARACTERS]
    if match := _SPDX.search(header):
        return match[1]
    words = _SPACE.sub(" ", header)
    return next((name for name, pattern in _KNOWN if pattern.search(words)), "")
