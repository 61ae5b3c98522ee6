"""What is written follows from its arguments, is valid WARC to two readers, and holds what the truth says."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from lm.data.synthetic import World
from lm.data.synthetic.crawl import Item, Page, Truth, load, similarity, write_crawl
from lm.data.synthetic.crawl.languages import LANGUAGES
from lm.data.synthetic.crawl.plan import SHARES

NOT_TEXT = re.compile(r"<(script|style)\b.*?</\1>|<[^>]+>", re.DOTALL)


def folder_digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def words(text: str) -> str:
    return f" {' '.join(text.split())} "


@pytest.fixture(scope="module")
def bodies(truth: Truth) -> dict[str, bytes]:
    """The pages as they were sent, by record id."""
    warc = pytest.importorskip("fastwarc.warc")
    found = {}
    for path in sorted(truth.crawl.rglob("*.warc.gz")):
        for record in warc.ArchiveIterator(str(path), record_types=warc.WarcRecordType.response):
            found[record.headers["WARC-Record-ID"]] = record.reader.read()
    return found


def seen(page: Page, body: bytes) -> str:
    """What a reader sees of a page: its characters without tags, as words between single spaces."""
    encoding = {"mojibake": "utf-8"}.get(page.charset, page.charset)
    try:
        source = body.decode(encoding or "utf-8")
    except UnicodeDecodeError:
        assert not page.charset, "only who declares nothing may be guessed at"
        source = body.decode("windows-1252")
    if page.charset == "mojibake":
        source = source.encode("windows-1252").decode("utf-8")
    return words(html.unescape(NOT_TEXT.sub(" ", source)))


def test_bytes_follow_from_the_arguments(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        write_crawl(tmp_path / name, seed=seed, n_pages=60, files=3)
    one, again, other = (folder_digests(tmp_path / name) for name in ("one", "again", "other"))
    assert one == again
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())
    assert [Path(path).parts[0] for path in one] == ["benchmark.jsonl", *["crawl"] * 3, "truth.jsonl"]


def test_there_are_as_many_pages_of_each_kind_as_asked_for(truth: Truth) -> None:
    assert len(truth) == 1000
    assert Counter(page.kind for page in truth) == {kind: round(1000 * share) for kind, share in SHARES.items()}
    assert {page.language for page in truth.of("foreign")} == set(LANGUAGES)
    assert load(truth.crawl.parent) == truth
    with pytest.raises(FileNotFoundError):
        load(truth.crawl)


def test_ids_are_places_of_records_in_two_snapshots(truth: Truth) -> None:
    warc = pytest.importorskip("fastwarc.warc")
    paths = sorted(truth.crawl.rglob("*.warc.gz"))
    assert [path.parent.name for path in paths] == ["CC-MAIN-2026-04"] * 2 + ["CC-MAIN-2026-08"] * 2
    responses = 0
    for path in paths:
        kinds = []
        for number, record in enumerate(warc.ArchiveIterator(str(path), parse_http=False)):
            assert record.verify_block_digest() or record.record_type != warc.WarcRecordType.response
            kinds.append(record.headers["WARC-Type"])
            if record.record_type == warc.WarcRecordType.response:
                page = truth.by_id[f"{path.relative_to(truth.crawl).as_posix()}#{number}"]
                assert page == truth.by_record[record.headers["WARC-Record-ID"]]
                assert record.headers["WARC-Target-URI"] == page.url
                record.parse_http()
                assert record.verify_payload_digest()
                assert record.http_headers.status_code == 200 or page.kind == "skipped"
                responses += 1
        first, *pairs = kinds
        assert first == "warcinfo"
        assert set(zip(pairs[::2], pairs[1::2], strict=True)) == {("request", "response")}
    assert responses == len(truth)


def test_warcio_reads_the_same_and_agrees_with_every_digest(truth: Truth, bodies: dict[str, bytes]) -> None:
    archive = pytest.importorskip("warcio.archiveiterator")
    path = min(truth.crawl.rglob("*.warc.gz"))
    with path.open("rb") as stream:
        for record in archive.ArchiveIterator(stream, check_digests="raise"):
            body = record.content_stream().read()
            if record.rec_type == "response":
                assert body == bodies[record.rec_headers["WARC-Record-ID"]]
                assert int(record.http_headers["Content-Length"]) == len(body)


def test_main_text_stands_in_the_page_in_order(truth: Truth, bodies: dict[str, bytes]) -> None:
    styles = Counter()
    for page in truth:
        if page.kind == "skipped":
            continue
        text = seen(page, bodies[page.record])
        place = 0
        for line in filter(None, page.text.split("\n")):
            place = text.find(words(line), place)
            assert place >= 0, (page.id, line)
        assert len(text) > len(words(page.text)) + 100  # there is always something around it
        styles[page.style] += 1
    assert len(styles) == 8


def test_empty_and_short_pages(truth: Truth) -> None:
    assert all(page.text == "" for page in truth.of("empty", "skipped"))
    assert all(3 < len(page.text.split()) < 45 for page in truth.of("short"))
    lengths = sorted(len(page.text.split()) for page in truth.of("clean"))
    assert lengths[0] >= 50
    assert 200 < lengths[len(lengths) // 2] < 400
    assert lengths[-1] < 700


def test_similarity_is_as_recorded(truth: Truth) -> None:
    copies = truth.of("duplicate", "near_duplicate")
    for page in copies:
        original = truth.by_id[page.cluster]
        assert original.kind == "clean"
        assert original.cluster == original.id
        if page.kind == "duplicate":
            assert page.text == original.text
            assert page.similarity == 1
        else:
            assert 0.4 < page.similarity == similarity(page.text, original.text) < 1
    near = [page.similarity for page in truth.of("near_duplicate")]
    assert len([value for value in near if value >= 0.85]) > 10
    assert len([value for value in near if value < 0.7]) > 10
    assert {page.cluster for page in truth if page.kind not in ("clean", "duplicate", "near_duplicate")} == {""}


def test_personal_data_stands_where_the_truth_says_and_nowhere_else(truth: Truth) -> None:
    planted = [found for page in truth for found in page.pii]
    assert {found.kind for found in planted} == {"email", "phone", "ip", "iban", "card", "secret"}
    for page in truth:
        assert all(found.value in page.text for found in page.pii)
        if "@" in page.text and page.kind != "low_quality":
            assert any(found.kind == "email" for found in page.pii)


def test_leaks_are_benchmark_items_at_their_places(truth: Truth) -> None:
    items = [json.loads(line) for line in truth.benchmark.read_text().splitlines()]
    questions = World(3).questions("test")
    assert [item["question"] + "\nAnswer:" for item in items] == [question.prompt for question in questions]
    assert [item["answer"] for item in items] == [f"#### {question.answer}" for question in questions]
    leaks = truth.of("leak")
    edits = Counter(page.leak.edit for page in leaks if page.leak)
    assert 5 <= edits["verbatim"] <= 15
    for page in leaks:
        assert page.leak is not None
        told, question = page.text[page.leak.start : page.leak.end], items[page.leak.item]["question"]
        assert told == question if page.leak.edit == "verbatim" else 0.4 < len(told) / len(question) < 1.4


def test_no_test_entity_is_told_of_but_in_leaks(truth: Truth) -> None:
    unseen = set(World(3).entities("test"))
    for page in truth:
        if page.kind != "leak":
            assert not unseen & set(re.findall(r"\w+", page.text))


def test_a_site_s_line_recurs_on_its_pages(truth: Truth) -> None:
    lines = Counter(page.refrain for page in truth if page.refrain)
    assert max(lines.values()) >= 5
    assert all(page.refrain in page.text.split("\n\n") for page in truth if page.refrain)


def test_given_items_are_what_leaks(tmp_path: Path) -> None:
    items = [Item("What is the capital of a land that has none, and who would ask?", "nobody")]
    truth = write_crawl(tmp_path, 0, 40, files=1, shares={"clean": 0.5, "leak": 0.5}, benchmark=items)
    verbatim = [page for page in truth if page.leak and page.leak.edit == "verbatim"]
    assert verbatim
    assert all(items[0].question in page.text for page in verbatim)
    assert all((page.leak is not None) == (page.kind == "leak") for page in truth)
