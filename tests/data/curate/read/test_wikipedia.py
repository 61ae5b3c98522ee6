"""Wikipedia dumps: every page once, articles as prose."""

from __future__ import annotations

import bz2
from xml.sax.saxutils import escape

import pytest

from lm.data.curate.read.wikitext import plain

HEAD = """<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="0.11" xml:lang="de">
  <siteinfo>
    <sitename>Wikipedia</sitename>
    <dbname>dewiki</dbname>
    <base>https://de.wikipedia.org/wiki/Wikipedia:Hauptseite</base>
    <namespaces>
      <namespace key="0" case="first-letter" />
      <namespace key="6" case="first-letter">Datei</namespace>
      <namespace key="14" case="first-letter">Kategorie</namespace>
    </namespaces>
  </siteinfo>
"""
TAIL = "</mediawiki>\n"
ARTICLE = "'''Anna''' war eine [[Physik]]erin.[[Datei:A.jpg|mini|Ein [[Bild]]]]\n[[Kategorie:Frau]]"


def page(title, text, *, number=1, namespace=0, redirect="", model="wikitext", history=()):
    revisions = "".join(
        f"""    <revision>
      <id>{100 + n}</id>
      <timestamp>2024-01-0{n + 1}T00:00:00Z</timestamp>
      <contributor><username>X</username><id>3</id></contributor>
      <model>{model}</model>
      <format>text/x-wiki</format>
      <text bytes="{len(each)}" xml:space="preserve">{escape(each)}</text>
      <sha1>x</sha1>
    </revision>
"""
        for n, each in enumerate([*history, text])
    )
    moved = f'    <redirect title="{redirect}" />\n' if redirect else ""
    return f"""  <page>
    <title>{escape(title)}</title>
    <ns>{namespace}</ns>
    <id>{number}</id>
{moved}{revisions}  </page>
"""


PAGES = [
    page("Anna & Bert/Ö", ARTICLE, number=12),
    page("AnnaB", "#REDIRECT [[Anna]]", redirect="Anna"),
    page("Vorlage:X", "{{{1}}}", namespace=10),
    page("Daten.json", "{}", model="json"),
    page("Leer", ""),
    page("Alt", "neu", history=("alt", "älter")),
]


@pytest.mark.parametrize("compress", [bytes, bz2.compress])
def test_pages_in_are_records_out(tmp_path, read_all, reasons, compress):
    name = "dewiki-20240220-pages-articles.xml" + {bytes: "", bz2.compress: ".bz2"}[compress]
    (tmp_path / name).write_bytes(compress((HEAD + "".join(PAGES) + TAIL).encode()))
    records = read_all(tmp_path)
    assert reasons(records) == [
        "Anna war eine Physikerin.",
        "[skipped: redirect]",
        "[skipped: not an article, but of namespace 10]",
        "[skipped: json, not wikitext]",
        "",
        "neu",
    ]
    assert records[0].meta == {
        "record": "12",
        "title": "Anna & Bert/Ö",
        "url": "https://de.wikipedia.org/wiki/Anna_%26_Bert/%C3%96",
        "date": "2024-01-01T00:00:00Z",
        "language": "de",
    }
    assert records[5].meta["date"] == "2024-01-03T00:00:00Z"


def test_dumps_of_many_streams_are_read_whole(tmp_path, read_all):
    streams = [HEAD, *(page(f"P{n}", f"text {n}") for n in range(20)), TAIL]
    (tmp_path / "a-multistream.xml.bz2").write_bytes(b"".join(bz2.compress(part.encode()) for part in streams))
    assert [record.text for record in read_all(tmp_path)] == [f"text {n}" for n in range(20)]


def test_a_malformed_page_is_put_aside_alone(tmp_path, read_all, reasons):
    bad = [page("B", "x").replace("</title>", "</titel>"), page("C", "x" * 5000), page("D", "x").replace("x", "\x01")]
    dump = HEAD + page("A", "a") + "".join(bad) + page("E", "e") + TAIL
    (tmp_path / "a.xml").write_text(dump)
    assert reasons(read_all(tmp_path, max_record_bytes=3000)) == [
        "a",
        "[malformed XML]",
        "[record longer than 3000 bytes]",
        "[malformed XML]",
        "e",
    ]


@pytest.mark.parametrize("cut", [20, 200, 500])
def test_a_cut_dump_gives_its_whole_pages_and_one_for_the_cut(tmp_path, read_all, cut):
    dump = HEAD + page("A", "a") + page("B", "b" * 400) + TAIL
    (tmp_path / "a.xml").write_text(dump[:-cut])
    *found, last = read_all(tmp_path)
    assert [record.text for record in found] == (["a", "b" * 400] if cut == 20 else ["a"])[: len(found)]
    assert last.reason == "the dump ends too early"
    (tmp_path / "a.xml").unlink()
    (tmp_path / "a.xml.bz2").write_bytes(bz2.compress(dump.encode())[:-10])
    assert read_all(tmp_path)[-1].reason == "the file's bz2 data ends too early"


def test_other_xml_is_skipped(tmp_path, read_all, reasons):
    (tmp_path / "a.xml").write_text("<html><page>x</page></html>")
    assert reasons(read_all(tmp_path)) == ["[skipped: XML that is no MediaWiki dump]"]


MARKUP = {
    "'''Bold''' and ''italic'' [[Link]]s, [[target|shown]], [[A (b)|'''A''']].": "Bold and italic Links, shown, A.",
    "A.<ref>cited {{x}}</ref> B.<ref name=b/> C.<ref name='c'>\n</ref>": "A. B. C.",
    "== Head ==\nText.\n=== Sub ===\nMore.": "Head\n\nText.\n\nSub\n\nMore.",
    "* one\n** two\n# three\n; term : said\n:: indented": "- one\n- two\n- three\nterm : said\nindented",
    "a\n{| class=x\n! h\n|-\n| b || c\n{|\n|d\n|}\n|}\nz": "a\n\nz",
    "a\n{| never closed\n| b": "a\nnever closed\n| b",
    "{{Infobox|a={{b|c}}|d=[[e]]}}\nText {{nowrap|x}}.": "Text .",
    "[[File:A.jpg|thumb|A [[nested]] caption]]x[[Category:Y]] [[:Category:Z]] [[de:Anna]]": "x Category:Z",
    "<math>a_{b}^{{c}}</math> and <math display=block>\\frac{[[1]]}{2}</math>": "$a_{b}^{{c}}$ and $\\frac{[[1]]}{2}$",
    "[http://a.b shown] http://c.d [http://e.f]": "shown http://c.d",
    "<nowiki>[[x]]</nowiki> &amp; &lt;b&gt; &nbsp;H<sub>2</sub>O<br/>next<!-- no -->": "[[x]] & <b> \xa0H2O\nnext",
    "<gallery>\nFile:a.jpg|b\n</gallery>__NOTOC__\n----\nx": "x",
    "x < y and y > z; a<b": "x < y and y > z; a<b",
}


@pytest.mark.parametrize("wikitext", MARKUP)
def test_markup_becomes_prose(wikitext):
    assert plain(wikitext) == MARKUP[wikitext]


HOSTILE = [
    "<b>",
    "<ref>",
    "<math>",
    "{|\n|-\n",
    "[[a|",
    "{{a|",
    "{{{",
    "<!--",
    "''",
    "== a",
    "[http://a ",
    "[[File:a|[[b]]",
    "-{",
]


@pytest.mark.parametrize("opened", HOSTILE)
def test_markup_that_is_never_closed_does_not_hold_up_the_others(opened):
    assert isinstance(plain(opened * 20_000 + "end"), str)  # hours, where a parser backtracks
