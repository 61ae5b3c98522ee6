"""LaTeX → text: prose and headings as text, formulas as they are written, with the paper's own macros expanded."""

from __future__ import annotations

import functools
import re
from typing import Any

from lm.common.errors import UserError
from lm.data.curate.read.latex_macros import expand, group
from lm.data.curate.read.records import Found, Refused

_BEGIN, _END = re.compile(r"\\begin\s*\{document\}"), re.compile(r"\\end\s*\{document\}")
_TITLE = re.compile(r"\\(?:title|icmltitle)\s*(?:\[[^\[\]]*\]\s*)?(?=\{)")
_LABEL = re.compile(r"\\label\s*\{[^{}\n]*\}")
_BLANKS = re.compile(r"\n[ \t]*(?:\n[ \t]*)+")
_ITEMS_APART = re.compile(r"\n\s*\n(?=- )")
_TITLE_CHARACTERS = 1000
_SECTIONS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph", "subparagraph")
_CITATIONS = "cite citet citep citealt citealp citeauthor citeyear citeyearpar Citet Citep textcite parencite autocite"
_REFERENCES = "ref eqref autoref cref Cref pageref"
# Of these, nothing is prose.
_SILENT = {
    "maketitle": "", "title": "[{", "author": "[{", "date": "{", "thanks": "{", "affiliation": "{", "email": "{",
    "bibliography": "{", "bibliographystyle": "{", "includegraphics": "*[[{", "vspace": "*{", "hspace": "*{",
    "input": "{", "include": "{", "usepackage": "[{", "documentclass": "[{", "pagestyle": "{", "thispagestyle": "{",
    "setlength": "{{", "setcounter": "{{", "hypersetup": "{", "newtheorem": "*{[{[", "tableofcontents": "",
    "def": "", "newcommand": "*{[[{", "renewcommand": "*{[[{", "centering": "", "noindent": "", "addtocounter": "{{",
}  # fmt: skip


def latex_text(source: str) -> Found | Refused:
    """Returns a document's text, title first, and its title."""
    try:
        import pylatexenc.latexwalker  # noqa: F401
    except ImportError as error:
        raise UserError("reading LaTeX needs pylatexenc; pip install 'lm[curate]'") from error
    source = expand(source)
    begin = _BEGIN.search(source)
    end = _END.search(source, begin.end()) if begin else None
    body = source[begin.end() if begin else 0 : end.start() if end else None]
    try:
        title = " ".join(_convert(_title(source)).split())
        text = _convert(_LABEL.sub("", body))
    except RecursionError:
        return Refused("LaTeX nested too deep", source.encode())
    except Exception as error:  # what malformed sources raise is of any kind
        return Refused(f"malformed LaTeX: {type(error).__name__}", source.encode())
    text = _ITEMS_APART.sub("\n", _BLANKS.sub("\n\n", f"{title}\n\n{text}".replace("\xa0", " "))).strip()
    return Found(text, {"title": title} if title else {})


def _title(source: str) -> str:
    match = _TITLE.search(source)
    found = group(source, match.end(), _TITLE_CHARACTERS) if match else None
    return found[0] if found else ""


def _convert(source: str) -> str:
    from pylatexenc.latexwalker import LatexWalker

    walker_context, converter = _contexts()
    nodes, _, _ = LatexWalker(source, latex_context=walker_context, tolerant_parsing=True).get_latex_nodes()
    return str(converter.nodelist_to_text(nodes))


@functools.cache
def _contexts() -> tuple[Any, Any]:
    """Returns what the parser knows of macros' arguments, and what becomes of macros and environments."""
    from pylatexenc import latex2text, latexwalker, macrospec

    arguments = dict(_SILENT) | dict.fromkeys(_SECTIONS, "*[{") | dict.fromkeys(_CITATIONS.split(), "*[[{")
    arguments |= dict.fromkeys(_REFERENCES.split(), "*{") | {"href": "{{", "url": "{", "caption": "*[{"}
    arguments |= {"footnote": "[{", "item": "["}
    walker_context = latexwalker.get_default_latex_context_db()
    walker_context.add_context_category(
        "papers",
        prepend=True,
        macros=[macrospec.std_macro(name, spec) for name, spec in arguments.items()],
        environments=[macrospec.std_environment("thebibliography", "{")],
    )

    text = latex2text.MacroTextSpec

    def last(form: str) -> Any:
        return lambda node, l2tobj: form.format(l2tobj.nodelist_to_text([node.nodeargd.argnlist[-1]]).strip())

    def item(node: Any, l2tobj: Any) -> str:
        mark = node.nodeargd.argnlist[0]
        return "\n" + (l2tobj.nodelist_to_text([mark]).strip() if mark else "- ")

    macros = [text(name, simplify_repl=last("\n\n{}\n\n")) for name in (*_SECTIONS, "caption")]
    macros += [text(name, simplify_repl=last("[{}]")) for name in _CITATIONS.split() + _REFERENCES.split()]
    macros += [text(name, simplify_repl=last("{}")) for name in ("href", "url")]
    macros += [text("footnote", simplify_repl=last(" ({})")), text("item", simplify_repl=item)]
    macros += [text(name, simplify_repl="") for name in _SILENT]
    macros += [text(name, simplify_repl=name) for name in ("TeX", "LaTeX", "LaTeXe", "BibTeX")]
    environments = [latex2text.EnvironmentTextSpec("thebibliography", simplify_repl="", discard=True)]
    text_context = latex2text.get_default_latex_context_db()
    text_context.add_context_category("papers", prepend=True, macros=macros, environments=environments)
    converter = latex2text.LatexNodes2Text(latex_context=text_context, math_mode="verbatim", keep_comments=False)
    return walker_context, converter
