"""LaTeX: papers become prose with readable formulas, wherever their parts lie."""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
import tracemalloc
import zipfile

import pytest

from lm.data.curate.document import Document
from lm.data.curate.read import Options, latex_parts, list_files, read
from lm.data.curate.read.latex_macros import expand
from lm.data.curate.read.latex_text import latex_text
from lm.data.curate.read.records import Refused

PAPER = r"""%% a preprint
\documentclass[11pt]{article}
\usepackage{amsmath,amssymb}
\newcommand{\R}{\mathbb{R}}
\newcommand{\norm}[2][2]{\left\| #2 \right\|_{#1}}
\def\eps{\varepsilon}
\DeclareMathOperator{\rank}{rank}
\title{On the \emph{Rank} of Things\thanks{Supported.}}
\author{A. Author \and B. Author}
\begin{document}
\maketitle
\begin{abstract}
We show that $x \in \R$ has \textbf{bounded} rank. It costs 50\% less~\cite{foo,bar}.
\end{abstract}
\input{sections/intro}
% \input{sections/unused}
\section{Results}\label{sec:results}
By G\"odel and Erd\H{o}s\footnote{A note.}, for all $\eps > 0$,
\begin{equation}\label{eq:main}
  \norm{x} + \norm[1]{y} \leq \rank A.
\end{equation}
See \eqref{eq:main} and ``this'' --- \href{http://a.org/x_y}{there}. % not this
\begin{itemize}
\item First
\item[(b)] Second
\end{itemize}
\begin{figure}\centering\includegraphics[width=3cm]{a_b.pdf}\caption{A figure.}\end{figure}
\bibliographystyle{plain}
\begin{thebibliography}{9}\bibitem{foo} Foo, \emph{Bar}.\end{thebibliography}
\end{document}
after the end
"""
INTRO = "\\section{Introduction}\nThe field $\\R$ is complete.\n"
EXPECTED = r"""On the Rank of Things

We show that $x \in \mathbb{R}$ has bounded rank. It costs 50% less [foo,bar].

Introduction

The field $\mathbb{R}$ is complete.

Results

By Gödel and Erdős (A note.), for all $\varepsilon > 0$,

\begin{equation}
  \left\| x \right\|_{2} + \left\| y \right\|_{1} \leq \operatorname{rank} A.
\end{equation}

See [eq:main] and “this” — there.

- First
(b) Second

A figure."""
SOURCES = {"main.tex": PAPER, "sections/intro.tex": INTRO, "sections/unused.tex": "Unused.", "a_b.pdf": "%PDF"}


def same(text, expected):
    return [line.strip() for line in text.split("\n") if line.strip()] == [
        line.strip() for line in expected.split("\n") if line.strip()
    ]


def tar(members, format=tarfile.PAX_FORMAT):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as archive:
        for name, content in members.items():
            raw = content if isinstance(content, bytes) else content.encode()
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return file.getvalue()


def test_a_paper_in_a_folder_is_one_document(tmp_path, read_all):
    for name, content in SOURCES.items():
        if name.endswith(".tex"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(content)
    main, *parts = read_all(tmp_path)
    assert same(main.text, EXPECTED), main.text
    assert main.meta == {"title": "On the Rank of Things"}
    assert [part.reason for part in parts] == ["skipped: part of a LaTeX document"] * 2


@pytest.mark.parametrize("name", ["paper.tar", "paper.tar.gz", "paper.tgz"])
def test_a_paper_in_an_archive_is_one_document(tmp_path, read_all, name):
    compress = bytes if name.endswith(".tar") else gzip.compress
    (tmp_path / name).write_bytes(compress(tar(SOURCES)))
    (document,) = read_all(tmp_path)
    assert same(document.text, EXPECTED)


def test_an_archive_of_submissions_gives_each(tmp_path, read_all, reasons):
    one = "\\documentstyle{article}\\begin{document}One.\\end{document}"
    members = {
        "2001/2001.00001.gz": gzip.compress(tar(SOURCES)),
        "2001/2001.00002.gz": gzip.compress(one.encode()),
        "2001/hep-th0101001.gz": gzip.compress(b"Plain \\TeX.\n\\bye\n"),
        "2001/2001.00004.pdf": b"no PDF",
        "2001/2001.00005.gz": gzip.compress(one.encode())[:-20],
        "2001/2001.00006.gz": gzip.compress(tar({"a.txt": "x"})),
    }
    (tmp_path / "arXiv_src_2001_001.tar").write_bytes(tar(members))
    records = read_all(tmp_path)
    assert len(records) == len(members)
    assert same(records[0].text, EXPECTED)
    assert records[1].text == "One."
    assert records[2].text.startswith("Plain TeX.")
    assert reasons(records)[3].startswith("[malformed PDF: ")
    assert reasons(records)[4:] == ["[the file's gz data ends too early]", "[skipped: an archive without LaTeX]"]


def test_cut_archives_say_so(tmp_path, read_all):
    data = tar({"a.tex": PAPER * 30, "b.tex": PAPER})
    (tmp_path / "a.tar").write_bytes(data[:20_000])
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(data)[:-40])
    plain, compressed = read_all(tmp_path)
    assert plain.reason == "damaged tar archive"
    assert compressed.reason == "the file's gz data ends too early"


def test_included_files_stay_within_the_folder_and_are_included_once(tmp_path, read_all):
    (tmp_path / "secret.tex").write_text("secret")
    folder = tmp_path / "paper"
    folder.mkdir()
    includes = f"\\input{{../secret}}\\input{{{tmp_path}/secret}}\\input{{a}}\\input{{loop}}\\input{{loop}}"
    (folder / "main.tex").write_text(f"\\documentclass{{a}}\\begin{{document}}x {includes}\\end{{document}}")
    (folder / "loop.tex").write_text("loop \\input{loop}\\input{main}")
    main = next(record for record in read_all(folder) if isinstance(record, Document))
    assert "secret" not in main.text
    assert main.text.count("loop") == 1


def paper(body):
    return f"\\documentclass{{a}}\\begin{{document}}{body}\\end{{document}}"


def put(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


NOT_FOR_READERS = [
    ".env", ".env.tex", ".git/config.tex", "sub/.hidden.tex", "sub/../.env", "../outside.tex", "sub/../../outside.tex",
    "..", ".", "plain.txt", "plain", "link", "link.tex", "elsewhere/outside", "a::b", "file:///etc/passwd", "x" * 300,
    "x" * 250 + "/" + "x" * 9, "sub", "sub/", "/etc/hostname", "pl?in", "*", "a\0b", "me", "closed", "pipe",
]  # fmt: skip


@pytest.mark.parametrize("form", ["\\input{%s}", "\\input %s ", "\\include{%s.tex}", "\\subfile{ %s }"])
@pytest.mark.parametrize("name", NOT_FOR_READERS)
def test_what_is_hidden_elsewhere_or_no_latex_is_not_included(tmp_path, name, form):
    root = tmp_path / "paper"
    secret = dict.fromkeys(
        (".env", ".env.tex", ".git/config.tex", "sub/.hidden.tex", "plain.txt", "closed.tex"), "secret"
    )
    put(root, {**secret, "../outside.tex": "secret"})
    (root / "link.tex").symlink_to(tmp_path / "outside.tex")
    (root / "elsewhere").symlink_to(tmp_path)
    (root / "me.tex").symlink_to(root / "me.tex")
    os.mkfifo(root / "pipe.tex")
    (root / "closed.tex").chmod(0)
    if os.geteuid() == 0:  # whom no file is closed to
        (root / "closed.tex").unlink()
    put(root, {"main.tex": paper("begin " + form % name + " and so on" * 20)})
    (file,) = list_files(str(root / "main.tex"))
    (record,) = read(file, Options(), "s")
    assert record.text.startswith("begin")
    assert "secret" not in record.text


def test_a_file_that_may_not_be_read_is_not_there(tmp_path, monkeypatch):
    put(tmp_path, {"main.tex": paper("begin \\input{a} end"), "a.tex": "secret"})
    (file,) = list_files(str(tmp_path / "main.tex"))

    def denied(self, path, *rest, **more):
        raise PermissionError(13, "Permission denied")

    look = latex_parts.neighbours(file)
    assert look("a.tex", 3) == b"sec"
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", denied)
    assert look("a.tex", 3) is None


def test_parts_in_an_archive_of_the_store_are_found(tmp_path, reasons):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("p/main.tex", paper("x \\input{sub/a} \\input{none}"))
        archive.writestr("p/sub/a.tex", "part")
    (file,) = list_files(f"zip://p/main.tex::{(tmp_path / 'a.zip').as_uri()}")
    assert reasons(list(read(file, Options(), "s"))) == ["x part"]


@pytest.mark.parametrize("archived", [False, True])
def test_long_chains_of_files_are_followed(tmp_path, read_all, archived):
    count = 900
    files = {"main.tex": paper("\\input{p0}")}
    files |= {f"p{n}.tex": f"<{n}>" + f"\\input{{p{n + 1}}}" * (n + 1 < count) for n in range(count)}
    if archived:
        (tmp_path / "a.tar").write_bytes(tar(files))
    else:
        put(tmp_path, files)
    records = read_all(tmp_path / ("a.tar" if archived else "main.tex"))
    assert [record.text for record in records] == ["".join(f"<{n}>" for n in range(count))]


def test_a_document_of_too_many_parts_is_put_aside(tmp_path, read_all, reasons):
    put(tmp_path, {"main.tex": paper("".join(f"\\input{{p{n}}}" for n in range(1500)))})
    assert reasons(read_all(tmp_path)) == ["[LaTeX of more than 1000 parts]"]
    files = {f"p{n}.tex": paper(f"\\input{{p{n + 1}}}") for n in range(1500)}
    sources = {name: content.encode() for name, content in files.items()}
    assert isinstance(latex_parts.with_parts("\\input{p0}", lambda name, limit: sources.get(name), 1 << 20), Refused)


def gzipped_in_itself(depth):
    data = tar({"main.tex": paper("x")})
    for _ in range(depth):
        data = tar({"2001/2001.00001.gz": gzip.compress(data)})
    return data


def test_archives_in_archives_in_archives_are_put_aside(tmp_path, read_all, reasons):
    for depth, expected in {0: "x", 1: "x", 2: "[LaTeX nested too deep]", 100: "[LaTeX nested too deep]"}.items():
        (tmp_path / "a.tar").write_bytes(gzipped_in_itself(depth))
        assert reasons(read_all(tmp_path)) == [expected]


def test_documents_that_share_their_parts_are_bounded_together(tmp_path, read_all, reasons):
    mains = {f"{n:03d}.tex": paper(f"({n})\\input{{z/shared}}") for n in range(100)}
    (tmp_path / "a.tar").write_bytes(tar({**mains, "z/shared.tex": "x" * 10_000}))
    found = reasons(read_all(tmp_path, max_record_bytes=50_000))
    assert len(found) == 100
    assert found[0] == "(0)" + "x" * 10_000
    assert found[4:] == ["[LaTeX too long with its parts]"] * 96
    folder = tmp_path / "folder"
    put(folder, {"main.tex": paper("\\input{a}\\input{b}"), "a.tex": "a" * 30_000, "b.tex": "b" * 30_000})
    assert reasons(read_all(folder / "main.tex", max_record_bytes=50_000)) == ["[LaTeX too long with its parts]"]


def included_slowly(text, files):
    """The obvious way, for files that include each other no more than once and without comments in brackets."""
    while match := re.search(r"^((?:[^%\n\\]|\\\\|\\%)*)\\input\{(\w+)\}", text, re.MULTILINE):
        text = text[: match.end(1)] + files.get(match[2] + ".tex", "") + text[match.end() :]
    return text


def test_comments_hide_what_they_hold_and_escaped_signs_do_not_begin_one():
    files = {
        "a.tex": "A% \\input{b}\n",
        "b.tex": "B",
        "c.tex": "C\\%\\input{d}\\\\%\\input{e}\n",
        "d.tex": "D",
        "e.tex": "E",
    }
    source = "\\input{a}|%\\input{b}\n50\\% \\input{b}|\\\\%\\input{e}\n\\input{c}|"
    joined = latex_parts.with_parts(source, lambda name, limit: files.get(name, "").encode() or None, 1000)
    assert joined == included_slowly(source, files)
    assert joined.count("B") == joined.count("D") == 1
    assert "E" not in joined


@pytest.mark.parametrize(
    "line", ["\\input{%d} ", "\\input ", "\\input{", "\\input\n", "\\input{a b", "\\input{a}", "%% \\input{b}"]
)
def test_a_line_of_many_marks_is_read_once(line):
    text = "".join(line % n if "%d" in line else line for n in range(100_000))
    joined = latex_parts.with_parts(text, lambda name, limit: None, len(text))
    assert isinstance(joined, Refused) if "%d" in line else joined == text


def pax(records, *, kind=tarfile.XHDTYPE, content=b"content", name="a.tex"):
    """Writes a file with records in a header of its own, whatever they say."""
    data = records if isinstance(records, bytes) else b"".join(pax_record(*pair) for pair in records.items())
    header, info = tarfile.TarInfo("header"), tarfile.TarInfo(name)
    header.type, header.size, info.size = kind, len(data), len(content)
    parts = ((header, data), (info, content))
    return b"".join(each.tobuf(tarfile.USTAR_FORMAT) + raw + bytes(-len(raw) % 512) for each, raw in parts)


def pax_record(key, value):
    body = f" {key}={value}\n".encode()
    length = next(n for n in range(len(body), len(body) + 9) if n == len(body) + len(str(n)))
    return str(length).encode() + body


def sized(size, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo("a.tex")
    info.type = kind
    raw = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    raw[124:136] = size
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw) + b"content".ljust(512, b"\0")


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a.tex", "GNU.sparse.realsize": "99"}
HEADERS = {
    "map": pax({"GNU.sparse.map": "a,b", "GNU.sparse.size": "9"}),
    "size": pax({"GNU.sparse.map": "0,1", "GNU.sparse.size": "x"}),
    "numbytes": pax({"GNU.sparse.size": "9", "GNU.sparse.offset": "q", "GNU.sparse.numbytes": "r"}),
    "realsize": pax({**SPARSE, "GNU.sparse.realsize": "x"}),
    "sparse 1.0": pax(SPARSE, content=b"no numbers\n" * 99),
    "sparse 1.0, long": pax(SPARSE, content=b"1000000\n" + b"1\n" * 500_000),
    "sparse 1.0, no line": pax(SPARSE, content=b"1" * 1_000_000),
    "sparse, backwards": pax({"GNU.sparse.map": "0,5,-700,5", "GNU.sparse.size": "99"}),
    "pax size": pax({"size": "x"}),
    "pax size, negative": pax({"size": "-5000"}),
    "no records": pax(b"\xff" * 5000),
    "no length": pax(b"0 a=b\n" * 100),
    "digits": pax(b"1" * 100_000),
    "spaces": pax((b"9" * 30 + b" ") * 3000),
    "charset": pax({"hdrcharset": "nothing", "path": "a.tex"}),
    "huge": pax({"comment": "x" * 10_000_000}),
    "huge, for all": pax({"comment": "x" * 10_000_000}, kind=tarfile.XGLTYPE),
    "huge name": pax(b"x" * 10_000_000, kind=tarfile.GNUTYPE_LONGNAME),
    "NUL in a name": pax(b"a\0b.tex", kind=tarfile.GNUTYPE_LONGNAME),
    "chain": b"".join(pax({"comment": "x"})[:1024] for _ in range(5000)),
    "chain of names": b"".join(pax(b"x", kind=tarfile.GNUTYPE_LONGNAME)[:1024] for _ in range(5000)),
    "8 EiB": sized(b"\x80" + b"\0" * 3 + b"\x7f" + b"\xff" * 7),
    "more than there are": sized(b"\x80" + b"\xff" * 11),
    "negative": sized(b"\xff" * 11 + b"\x80"),
    "sparse of old": sized(b"%011o\0" % 7, tarfile.GNUTYPE_SPARSE),
    "cut": pax({"comment": "x"})[:700],
}


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_no_header_of_an_archive_is_a_traceback_or_costs_memory(tmp_path, kind, suffix):
    data = tar({"first.tex": paper("x")})[:1024] + HEADERS[kind] + tar({"last.tex": "x"})
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    (file,) = list_files(str(path))
    tracemalloc.start()
    records = list(read(file, Options(max_record_bytes=1 << 20), "s"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [record.text if isinstance(record, Document) else record.reason for record in records] in (
        ["x"], ["damaged tar archive"]
    )  # fmt: skip
    assert peak < 8 << 20


def test_a_header_in_the_midst_that_is_none_is_damage(tmp_path, read_all, reasons):
    data = bytearray(tar({"a.tex": paper("a"), "b.tex": paper("b")}))
    data[1024:1100] = b"\xff" * 76
    (tmp_path / "a.tar").write_bytes(data)
    assert reasons(read_all(tmp_path)) == ["[damaged tar archive]"]


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_foreign_names_are_read(tmp_path, read_all, reasons, format):
    name = "ö" * 120
    (tmp_path / "a.tar").write_bytes(tar({f"p/{name}.tex": "part", "p/main.tex": paper(f"\\input{{{name}}}")}, format))
    assert reasons(read_all(tmp_path)) == ["part"]


def test_headers_that_were_read_are_let_go(tmp_path):
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        for n in range(400):
            kind = (tarfile.XHDTYPE, tarfile.XGLTYPE)[n % 2]
            file.write(pax({f"k{n}": "x" * 100_000}, kind=kind, name=f"{n}.txt"))
        file.write(tar({"a.tex": paper("x")}))
    (file,) = list_files(str(tmp_path))
    tracemalloc.start()
    (record,) = read(file, Options(), "s")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert record.text == "x"
    assert peak < 8 << 20


MACROS = {
    r"\newcommand\a{b}\a{} \ab": r"b{} \ab",
    r"\newcommand{\f}[2]{<#1|#2>}\f{x}{y} \f xy \f{\f12}{3}": "<x|y> <x|y> <<1|2>|3>",
    r"\newcommand{\f}[2][d]{#1#2}\f{x} \f[e]{x}": "dx ex",
    r"\def\f#1{[#1]}\def\g{\f{\h}}\def\h{i}\g": "[i]",
    r"\renewcommand*{\x}{\x y}\x": r"\renewcommand*{\x}{\x y}\x",  # it would never end
    r"\def\a{\b}\def\b{\a}\a": r"\a",
    r"\newcommand{\f}[1]{#1}\f": r"\f",
    r"\newcommand{\brace}{\{ x \}}\brace": r"\{ x \}",
    r"no macros \at all {": r"no macros \at all {",
}


@pytest.mark.parametrize("source", MACROS)
def test_macros_are_expanded(source):
    assert expand(source) == MACROS[source]


def test_macros_of_macros_cannot_explode():
    levels = "".join(
        rf"\def\{chr(98 + n)}{{{chr(92) + chr(97 + n)}" * 1 + rf"\{chr(97 + n)}" * 9 + "}" for n in range(12)
    )
    assert len(expand(rf"\def\a{{aaaaaaaaaa}}{levels}\m")) < 10_000


@pytest.mark.parametrize(
    "source",
    [
        "{" * 50_000,
        "$" * 5001,
        "\\begin{a}" * 5000,
        "\\frac" * 5000,
        "\\",
        "}",
        "\\item",
        "\\href{a}",
        "\\section",
        "\0",
    ],
)
def test_malformed_sources_neither_raise_nor_hang(source):
    record = latex_text(source)
    assert hasattr(record, "text") or "LaTeX" in record.reason
