"""WARC and WET: every record is accounted for, whatever lies damaged between them."""

from __future__ import annotations

import gzip
import io
import random
import re
import zlib

import pytest
import zstandard
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from lm.data.curate.document import Document

PAGE = b"<html><head><title>P</title></head><body><p>A page about naming.</p></body></html>"
DAMAGED = "[damaged WARC record]"


class Crawl:
    """Writes records as Common Crawl does: each its own gzip member, with digests."""

    def __init__(self, *, compressed: bool = True) -> None:
        self.file, self.starts = io.BytesIO(), []
        self._writer = WARCWriter(self.file, gzip=compressed)

    def write(self, kind: str, payload: bytes, url: str = "", http: StatusAndHeaders | None = None, **headers: str):
        self.starts.append(self.file.tell())
        record = self._writer.create_warc_record(
            url,
            kind,
            payload=io.BytesIO(payload),
            http_headers=http,
            warc_content_type=headers.pop("content_type", ""),
            warc_headers_dict={"WARC-Date": "2024-02-20T21:10:55Z", **headers},
        )
        self._writer.write_record(record)

    def response(self, payload: bytes = PAGE, url: str = "http://a.org/", status: str = "200 OK", **headers: str):
        fields = [(name.replace("_", "-"), value) for name, value in ({"Content_Type": "text/html"} | headers).items()]
        self.write("response", payload, url, StatusAndHeaders(status, fields, protocol="HTTP/1.1"))

    @property
    def data(self) -> bytes:
        return self.file.getvalue()


def pages(count, *, compressed=True):
    crawl = Crawl(compressed=compressed)
    noise = random.Random(0)
    for n in range(count):
        crawl.response(b"<p>%d</p>" % n + noise.randbytes(3000).hex().encode(), f"http://a.org/{n}")
    return crawl


def numbers(records):
    """Returns the number of each page, and what else there is as its reason."""
    return [int(r.html[3:-4].split(b"<")[0]) if isinstance(r, Document) else f"[{r.reason}]" for r in records]


def test_a_crawl_as_common_crawl_writes_it(tmp_path, read_all):
    crawl = Crawl()
    crawl.write("warcinfo", b"isPartOf: CC-MAIN-2024-10\r\nsoftware: Nutch", content_type="application/warc-fields")
    for n in range(3):
        url = f"http://a.org/{n}"
        crawl.write("request", b"", url, StatusAndHeaders("GET / HTTP/1.1", [("Host", "a.org")], is_http_request=True))
        crawl.response(PAGE, url, Content_Type='Text/HTML; Charset="ISO-8859-1"', X_Crawl_Content_Encoding="gzip")
        crawl.write("metadata", b"fetchTimeMs: 5", url, content_type="application/warc-fields")
    (tmp_path / "CC-MAIN-20240220211055-20240221001055-00000.warc.gz").write_bytes(crawl.data)
    records = read_all(tmp_path)
    assert len(records) == 10
    kinds = ["warcinfo", *["request", None, "metadata"] * 3]
    for n, (record, kind) in enumerate(zip(records, kinds, strict=True)):
        if kind:
            assert record.reason == f"skipped: WARC {kind} record"
            continue
        assert (record.text, record.html) == ("", PAGE)
        assert re.fullmatch(r"<urn:uuid:[0-9a-f-]{36}>", record.meta["record"])
        assert {key: value for key, value in record.meta.items() if key != "record"} == {
            "url": f"http://a.org/{n // 3}",
            "date": "2024-02-20T21:10:55Z",
            "content_type": "text/html",
            "charset": "iso-8859-1",
            "snapshot": "CC-MAIN-2024-10",
            "offset": crawl.starts[n],
        }


def test_the_snapshot_is_known_by_the_path(tmp_path, read_all):
    crawl = Crawl()
    crawl.response()
    folder = tmp_path / "crawl-data" / "CC-MAIN-2013-20" / "segments" / "warc"
    folder.mkdir(parents=True)
    (folder / "CC-MAIN-20130516092621-00000-ip-10-60-113-184.ec2.internal.warc.gz").write_bytes(crawl.data)
    assert read_all(tmp_path)[0].meta["snapshot"] == "CC-MAIN-2013-20"


@pytest.mark.parametrize("name", ["a.warc.wet.gz", "a.wet.gz", "a.wet"])
def test_wet_files_give_text(tmp_path, read_all, reasons, name):
    crawl = Crawl(compressed=name.endswith("gz"))
    crawl.write("warcinfo", b"Software-Info: ia-web-commons", content_type="application/warc-fields")
    texts = ["Grüße\naus 漢字\n", "", "second page"]
    for text in texts:
        crawl.write("conversion", text.encode(), "http://a.org", content_type="text/plain")
    (tmp_path / name).write_bytes(crawl.data)
    records = read_all(tmp_path)
    assert reasons(records) == ["[skipped: WARC warcinfo record]", *texts]
    assert records[1].meta["url"] == "http://a.org"


def test_what_is_no_page_is_skipped_with_its_reason(tmp_path, read_all, reasons):
    crawl = Crawl()
    crawl.response(status="404 Not Found")
    crawl.response(status="301 Moved", Location="http://b")
    crawl.response(Content_Type="image/png")
    crawl.response(Content_Type="made up/by someone")
    crawl.response("Größe: naïve".encode("latin-1"), Content_Type="text/plain; charset=iso-8859-1")
    crawl.response(Content_Type="application/xhtml+xml")
    crawl.write("revisit", b"", "http://a", StatusAndHeaders("304 Not Modified", [], protocol="HTTP/1.1"))
    crawl.write("resource", b"dig", "dns:a.org", content_type="text/dns")
    crawl.write("resource", PAGE, "file:///a.html", content_type="text/html")
    (tmp_path / "a.warc.gz").write_bytes(crawl.data)
    records = read_all(tmp_path)
    assert reasons(records) == [
        "[skipped: HTTP status 404]", "[skipped: HTTP status 301]", "[skipped: content type image/png]",
        "[skipped: content type missing or malformed]", "Größe: naïve", "", "[skipped: WARC revisit record]",
        "[skipped: content type text/dns]", "",
    ]  # fmt: skip
    assert records[4].meta["encoding"] == "cp1252"  # which is what the web means by the name
    assert records[5].html == records[8].html == PAGE


@pytest.mark.parametrize(
    "charset",
    ["undefined", "a\0b", "idna", "unicode_escape", "raw_unicode_escape", "utf-7", "rot13", "\xff", "x" * 9999],
)
def test_a_header_cannot_choose_a_codec_that_is_none_of_the_web(tmp_path, read_all, charset):
    crawl = Crawl()
    text = "Größe: naïve, \\ud800 and \\u0041"
    crawl.response(text.encode("latin-1"), Content_Type=f"text/plain; charset={charset}")
    (tmp_path / "a.warc.gz").write_bytes(crawl.data)
    (document,) = read_all(tmp_path)
    assert document.text == text
    assert document.meta["encoding"] == "cp1252"


CHUNKED = b"".join(b"%x;name=value\r\n%s\r\n" % (len(part), part) for part in (PAGE[:20], PAGE[20:])) + b"0\r\n\r\n"
BODIES = {
    "gzip": ({"Content_Encoding": "gzip"}, gzip.compress(PAGE)),
    "deflate": ({"Content_Encoding": "deflate"}, zlib.compress(PAGE)),
    "bare deflate": ({"Content_Encoding": "deflate"}, zlib.compress(PAGE, wbits=-15)),
    "zstd": ({"Content_Encoding": "zstd"}, zstandard.compress(PAGE)),
    "chunked": ({"Transfer_Encoding": "chunked"}, CHUNKED),
    "chunked and gzip": (
        {"Transfer_Encoding": "chunked", "Content_Encoding": "gzip"},
        b"%x\r\n%s\r\n0\r\n\r\n" % (len(gzip.compress(PAGE)), gzip.compress(PAGE)),
    ),
    "labelled gzip": ({"Content_Encoding": "gzip"}, PAGE),
    "labelled chunked": ({"Transfer_Encoding": "chunked"}, PAGE),
    "identity": ({"Content_Encoding": "identity"}, PAGE),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_are_decoded(tmp_path, read_all, name):
    headers, body = BODIES[name]
    crawl = Crawl()
    crawl.response(body, **headers)
    crawl.response()
    (tmp_path / "a.warc.gz").write_bytes(crawl.data)
    assert [record.html for record in read_all(tmp_path)] == [PAGE, PAGE]


def test_bodies_that_cannot_be_decoded_are_put_aside_and_cut_ones_give_what_they_have(tmp_path, read_all, reasons):
    crawl = Crawl()
    crawl.response(gzip.compress(PAGE)[:10] + b"\xff" * 40, Content_Encoding="gzip")
    crawl.response(b"5\r\nabcdeXXXX", Transfer_Encoding="chunked")
    crawl.response(PAGE, Content_Encoding="made-up")
    crawl.response(gzip.compress(PAGE * 100)[:-20], Content_Encoding="gzip")
    crawl.response(b"ff\r\nabc", Transfer_Encoding="chunked")
    (tmp_path / "a.warc.gz").write_bytes(crawl.data)
    records = read_all(tmp_path)
    assert reasons(records[:3]) == [
        "[damaged compressed body]", "[damaged chunked body]", "[a Content-Encoding that is not known]",
    ]  # fmt: skip
    assert (PAGE * 100).startswith(records[3].html)
    assert len(records[3].html) > len(PAGE)
    assert records[4].html == b"abc"


def test_what_is_too_long_is_put_aside_compressed_or_not(tmp_path, read_all, reasons):
    crawl = Crawl()
    crawl.response(b"x" * 5000)
    crawl.response(gzip.compress(b"x" * 3_000_000), Content_Encoding="gzip")
    crawl.response()
    (tmp_path / "a.warc.gz").write_bytes(crawl.data)
    longer = "[record longer than 4000 bytes]"
    assert reasons(read_all(tmp_path, max_record_bytes=4000)) == [longer, longer, ""]


@pytest.mark.parametrize("compress", [zstandard.compress, gzip.compress, bytes])
def test_archives_without_members_of_their_own_are_read_too(tmp_path, read_all, compress):
    suffix = {zstandard.compress: ".zst", gzip.compress: ".gz", bytes: ""}[compress]
    (tmp_path / f"a.warc{suffix}").write_bytes(compress(pages(5, compressed=False).data))
    assert numbers(read_all(tmp_path)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("part", [0.0005, 0.02, 0.3, 0.99])
def test_a_cut_archive_gives_what_came_before_and_one_for_the_cut(tmp_path, read_all, compressed, part):
    crawl = pages(8, compressed=compressed)
    begin = crawl.starts[5]
    cut = begin + max(1, int(part * (crawl.starts[6] - begin)))
    (tmp_path / "a.warc").write_bytes(crawl.data[:cut])
    records = read_all(tmp_path)
    assert numbers(records) == [0, 1, 2, 3, 4, DAMAGED]
    assert records[-1].raw == crawl.data[begin:cut][:4096]


def test_an_archive_that_is_one_cut_member_gives_what_came_before(tmp_path, read_all):
    data = gzip.compress(pages(20, compressed=False).data)
    (tmp_path / "a.warc.gz").write_bytes(data[: len(data) // 2])
    *found, cut = numbers(read_all(tmp_path))
    assert found == list(range(len(found)))
    assert 5 < len(found) < 15
    assert cut == DAMAGED


@pytest.mark.parametrize("at", [0, 2, 12, 300, 2000])
@pytest.mark.parametrize("victims", [(3,), (3, 4), (0,), (0, 7), (2, 5, 6)])
def test_reading_goes_on_behind_damaged_members(tmp_path, read_all, at, victims):
    crawl = pages(8)
    data = bytearray(crawl.data)
    for n in victims:
        data[crawl.starts[n] + at : crawl.starts[n] + at + 50] = bytes(range(200, 250))
    (tmp_path / "a.warc.gz").write_bytes(data)
    found = numbers(read_all(tmp_path))
    whole = [n for n in range(8) if n not in victims]
    assert [n for n in found if n != DAMAGED] == whole
    assert 1 <= found.count(DAMAGED) <= len(victims)
    expected = [n if n in whole else DAMAGED for n in range(8)]
    if at >= 300:  # each damaged member can still be told from its neighbours
        assert found == expected


def test_rubbish_between_records_is_put_aside(tmp_path, read_all):
    for compressed in (True, False):
        crawl = pages(4, compressed=compressed)
        rubbish = b"rubbish \x1f\x8b\x08 WARC/1.0\n" * 9000
        (tmp_path / "a.warc").write_bytes(crawl.data[: crawl.starts[2]] + rubbish + crawl.data[crawl.starts[2] :])
        records = read_all(tmp_path)
        assert numbers(records) == [0, 1, DAMAGED, 2, 3]
        assert records[2].raw == rubbish[:4096]


@pytest.mark.parametrize("factor", [0.5, 1.5, 2.5, 100])
def test_a_wrong_length_costs_no_other_record(tmp_path, read_all, factor):
    crawl = pages(6, compressed=False)
    begin = crawl.starts[2]
    wrong = re.sub(
        rb"Content-Length: (\d+)",
        lambda match: b"Content-Length: %d" % (int(match[1]) * factor),
        crawl.data[begin:],
        count=1,
    )
    (tmp_path / "a.warc").write_bytes(crawl.data[:begin] + wrong)
    found = [record.meta["url"] for record in read_all(tmp_path) if isinstance(record, Document)]
    assert {f"http://a.org/{n}" for n in (0, 1, 3, 4, 5)} <= set(found)


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\0" * 100])
def test_nothing_is_no_record(tmp_path, read_all, data):
    (tmp_path / "a.warc").write_bytes(data)
    assert read_all(tmp_path) == []


@pytest.mark.parametrize("data", [b"hello", b"\x1f\x8b\x08" + b"\1" * 50, b"WARC/1.0", b"\xff" * 200_000])
def test_what_is_no_archive_is_one_record_put_aside(tmp_path, read_all, data):
    (tmp_path / "a.warc").write_bytes(data)
    (record,) = read_all(tmp_path)
    assert record.raw == data[:4096]


def test_damage_anywhere_never_hangs_or_raises(tmp_path, read_all):
    crawl, noise = pages(6), random.Random(1)
    for _ in range(60):
        data = bytearray(crawl.data)
        for _ in range(noise.randrange(1, 4)):
            at = noise.randrange(3, len(data))
            data[at : at + noise.randrange(1, 30)] = noise.randbytes(noise.randrange(30))
        (tmp_path / "a.warc.gz").write_bytes(data)
        found = numbers(read_all(tmp_path))
        kept = [n for n in found if n != DAMAGED]
        assert kept == sorted(set(kept))
        assert len(kept) >= 3
        assert DAMAGED in found or len(kept) == 6
