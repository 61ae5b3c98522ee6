"""Text files: whatever their encoding, one document a file, and books without Project Gutenberg's additions."""

from __future__ import annotations

import gzip

import pytest

GERMAN = "Größe, Übermaß und Öl: „süße“ Äpfel für jeden – das wäre schön."
BOOK = """The Project Gutenberg eBook of Emma

This eBook is for the use of anyone anywhere.

Title: Emma

Author: Jane Austen

Release date: August 1, 1994 [eBook #158]

Language: English

*** START OF THE PROJECT GUTENBERG EBOOK EMMA ***

Produced by An Anonymous Volunteer,
and another one

EMMA

Emma Woodhouse, handsome, clever, and rich.
{mark}
Section 1. General Terms of Use
"""
MARKS = [
    "*** END OF THE PROJECT GUTENBERG EBOOK EMMA ***",
    "End of the Project Gutenberg EBook of Emma",
    "***END OF THIS PROJECT GUTENBERG EBOOK EMMA***",
]
TEXT = "EMMA\n\nEmma Woodhouse, handsome, clever, and rich.\n"


@pytest.mark.parametrize("name", ["a.txt", "README.md", "a.rst", "A.TEXT"])
def test_a_file_is_one_document_kept_as_it_is(tmp_path, read_all, name):
    text = "eins\r\nzwei 漢\n\n"
    (tmp_path / name).write_bytes(text.encode())
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode()))
    assert [(record.text, record.meta) for record in read_all(tmp_path)] == [(text, {}), (text, {})]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_other_encodings_are_recognised_and_told(tmp_path, read_all, encoding):
    (tmp_path / "a.txt").write_bytes((GERMAN * 5).encode(encoding))
    (document,) = read_all(tmp_path)
    assert document.text == GERMAN * 5
    assert "x".encode(document.meta["encoding"]) in "x".encode(encoding)


def test_cyrillic_of_old_is_recognised(tmp_path, read_all):
    text = "Привет, мир. Это старый текст на русском языке, и его надо прочесть."
    (tmp_path / "a.txt").write_bytes(text.encode("koi8-r"))
    assert read_all(tmp_path)[0].text == text


def test_binary_files_are_put_aside_and_a_few_nuls_are_not(tmp_path, read_all, reasons):
    (tmp_path / "a.txt").write_bytes(bytes(range(256)) * 10 + b"\0" * 100)
    (tmp_path / "b.txt").write_bytes(b"text" * 100 + b"\0")
    (tmp_path / "c.txt").write_bytes("little endian, no mark".encode("utf-16-le"))
    assert reasons(read_all(tmp_path)) == ["[binary, not text]", "text" * 100 + "\0", "[binary, not text]"]


def test_empty_files_are_empty_documents(tmp_path, read_all):
    for n in range(300):
        (tmp_path / f"{n:03d}.txt").touch()
    assert [record.text for record in read_all(tmp_path)] == [""] * 300


def test_a_separator_cuts_a_file_into_records(tmp_path, read_all):
    (tmp_path / "a.txt").write_bytes(b"one\n<|end|>\n two \n\n<|end|>\n<|end|>three")
    assert [record.text for record in read_all(tmp_path, separator="<|end|>")] == ["one", " two ", "three"]


@pytest.mark.parametrize("at", range((1 << 20) - 8, (1 << 20) + 1))
def test_separators_may_lie_anywhere(tmp_path, read_all, at):
    (tmp_path / "a.txt").write_bytes(b"x" * at + b"<|end|>" + b"y" * 10)
    assert [len(record.text) for record in read_all(tmp_path, separator="<|end|>")] == [at, 10]


def test_a_huge_file_is_put_aside_and_pieces_of_it_are_read(tmp_path, read_all, reasons):
    (tmp_path / "a.txt").write_bytes(b"x" * 3_000_000 + b"|" + b"y" * 999 + b"|" + b"z" * 1001)
    assert reasons(read_all(tmp_path, max_record_bytes=1000)) == ["[record longer than 1000 bytes]"]
    longer = "[record longer than 1000 bytes]"
    assert reasons(read_all(tmp_path, max_record_bytes=1000, separator="|")) == [longer, "y" * 999, longer]


def test_a_cut_gzip_file_is_put_aside_with_what_there_is(tmp_path, read_all):
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"text" * 1000)[:-4])
    (record,) = read_all(tmp_path)
    assert record.reason == "the file's gz data ends too early"
    assert record.raw == b"text" * 1000


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("format", ["auto", "gutenberg"])
def test_books_lose_what_project_gutenberg_added(tmp_path, read_all, mark, ends, format):
    (tmp_path / "emma.txt").write_bytes(BOOK.format(mark=mark).replace("\n", ends).encode())
    (document,) = read_all(tmp_path, format=format)
    assert document.text == TEXT
    assert document.meta["title"] == "Emma"
    assert document.meta["author"] == "Jane Austen"
    assert document.meta["date"].startswith("August 1, 1994")


def test_books_of_the_nineties(tmp_path, read_all):
    old = (
        "**The Etext of Emma**\n\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n\nEMMA\n\nText.\n\n"
    )
    (tmp_path / "emma.txt").write_text(old + "End of Project Gutenberg's Etext of Emma\n")
    assert [record.text for record in read_all(tmp_path)] == ["EMMA\n\nText.\n"]


def test_texts_without_marks_are_no_books_and_stay_as_they_are(tmp_path, read_all, reasons):
    (tmp_path / "a.txt").write_text("plain\r\n", newline="")
    assert reasons(read_all(tmp_path)) == ["plain\r\n"]
    assert reasons(read_all(tmp_path, format="gutenberg")) == ["[no Project Gutenberg marks]"]
    (tmp_path / "a.txt").write_text(BOOK)
    assert reasons(read_all(tmp_path, format="txt")) == [BOOK]
