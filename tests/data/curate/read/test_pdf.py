"""PDF: pages as text, and what cannot be read put aside."""

from __future__ import annotations

import io

import pypdf
import pytest


def pdf(*pages: list[str], title: str = "On Things") -> bytes:
    """Writes a PDF file byte for byte: objects, their offsets, and the table of them."""
    count = len(pages)
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(count))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {count} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for n, lines in enumerate(pages):
        shown = " T* ".join(f"({line}) Tj" for line in lines)
        stream = f"BT /F1 12 Tf 14 TL 72 720 Td {shown} ET"
        box = "/MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >>"
        objects.append(f"<< /Type /Page /Parent 2 0 R {box} /Contents {5 + 2 * n} 0 R >>")
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects.append(f"<< /Title ({title}) /CreationDate (D:20240102030405Z) >>")
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    size, info, at = len(objects) + 1, len(objects), len(data)
    trailer = f"trailer\n<< /Size {size} /Root 1 0 R /Info {info} 0 R >>\nstartxref\n{at}\n%%EOF\n"
    return data + f"xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode()


def test_pages_become_one_text_with_hyphenated_words_whole(tmp_path, read_all):
    pages = ["The naming of inter-", "national things", "is na\xefve."], ["Second page, E = mc"], []
    (tmp_path / "a.pdf").write_bytes(pdf(*pages))
    (document,) = read_all(tmp_path)
    assert document.text == "The naming of international things\nis naïve.\n\nSecond page, E = mc"
    assert document.meta["title"] == "On Things"
    assert document.meta["date"].startswith("2024-01-02")


def test_what_has_no_text_is_put_aside(tmp_path, read_all, reasons):
    whole = pdf(["Text."])
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(whole))
    writer.encrypt("secret", algorithm="RC4-128")
    writer.write(tmp_path / "encrypted.pdf")
    (tmp_path / "scan.pdf").write_bytes(pdf([], []))
    (tmp_path / "text.pdf").write_bytes(b"not a PDF file at all")
    (tmp_path / "zero.pdf").write_bytes(b"")
    encrypted, scan, text, zero = reasons(read_all(tmp_path))
    assert encrypted == "[an encrypted PDF]"
    assert scan == "[a PDF without text, such as a scan]"
    assert text.startswith("[malformed PDF: ")
    assert zero.startswith("[malformed PDF: ")
    assert all(record.raw for record in read_all(tmp_path)[:3])


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_a_cut_file_is_one_record(tmp_path, read_all, part):
    whole = pdf(["One."], ["Two."])
    (tmp_path / "a.pdf").write_bytes(whole[: int(part * len(whole))])
    assert len(read_all(tmp_path)) == 1
