"""Source code: every file as it is, with its language and what its header says of its licence."""

from __future__ import annotations

import pytest

from lm.data.curate.read import code
from lm.data.readers.code import SUFFIXES

LICENCES = {
    "MIT": "/*\n * Copyright\n *\n * Permission is hereby granted, free of charge, to any person obtaining a copy\n */",
    "Apache-2.0": '# Licensed under the Apache License, Version 2.0 (the "License");',
    "BSD-3-Clause": "// Redistribution and use in source and binary forms, with or without\n// modification.\n"
    "// Neither the name of X may be used to endorse or promote products",
    "BSD-2-Clause": "// Redistribution and use in source and binary\n// forms, with or without modification,",
    "GPL-3.0": "# under the terms of the GNU General Public License as published by\n# the Free Software Foundation, "
    "either version 3 of the License",
    "LGPL-2.1": " * GNU Lesser General Public\n * License as published; either version 2.1",
    "AGPL-3.0": "-- GNU Affero General Public License",
    "MPL-2.0": "// subject to the terms of the Mozilla Public\n// License, v. 2.0.",
    "GPL-2.0-only": "// SPDX-License-Identifier: GPL-2.0-only\nint x;",
    "MIT OR Apache-2.0": "/* SPDX-License-Identifier: MIT OR Apache-2.0 */",
    "(GPL-2.0 WITH Linux-syscall-note)": "<!-- SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) -->",
    "": "# A licence is not named here; the MIT campus and the BSD socket are.",
}


@pytest.mark.parametrize("licence", LICENCES)
def test_licences_are_known_by_their_words_whatever_the_comment_signs(licence):
    assert code.licence(LICENCES[licence] + "\nint main() {}\n") == licence


def test_files_are_kept_as_they_are_with_what_is_known_of_them(tmp_path, read_all):
    text = '#!/bin/sh\r\n# SPDX-License-Identifier: ISC\r\n\techo "a"\n'
    (tmp_path / "run.sh").write_bytes(text.encode())
    (tmp_path / "Makefile").write_bytes(b"all:\n\ttrue\n")
    makefile, shell = read_all(tmp_path)
    assert (shell.text, shell.meta) == (text, {"language_code": "shell", "licence": "ISC"})
    assert makefile.meta == {"language_code": "makefile"}


def test_old_encodings_are_read_and_binary_files_are_not(tmp_path, read_all):
    (tmp_path / "a.c").write_bytes("/* für größere Zahlen, natürlich */".encode("latin-1"))
    (tmp_path / "b.c").write_bytes(b"\x7fELF\0\0\0\0\0\0\0\0\xff\xfe")
    old, binary = read_all(tmp_path)
    assert "größere" in old.text
    assert old.meta["encoding"]
    assert binary.reason == "binary, not text"


def test_every_suffix_that_counts_as_code_has_a_language():
    assert {suffix for suffix in SUFFIXES if not code.language(f"a{suffix}")} == set()
    assert code.language("x/Dockerfile") == "dockerfile"
    assert code.language("a.PY") == code.language("a.py.gz") == "python"
    assert code.language("a.png") == code.language("LICENSE") == ""
