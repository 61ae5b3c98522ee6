"""LaTeX: papers become prose with readable formulas, wherever their parts lie."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from lm.data.curate.document import Document
from lm.data.curate.read.latex_macros import expand
from lm.data.curate.read.latex_text import latex_text

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


def tar(members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
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
