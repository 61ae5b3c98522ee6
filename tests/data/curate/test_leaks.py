"""Items are found in texts as a slow search finds them; edits are seen through, and common phrases are not leaks."""

from __future__ import annotations

import math
import pickle
import random
from pathlib import Path

import pytest

from lm.common.errors import UserError
from lm.data.curate.benchmarks import Item
from lm.data.curate.leaks import Index, normalised_words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It's 3 o'clock!", "its THREE oclock"),
        ("1,234 apples", "1234 apples"),
        ("ﬁne ＦＯＯ１", "fine foo1"),
        ("has_close_elements(numbers)", "has close elements numbers"),
        ("Which? (A) cats (B) dogs", "Which?\n\tcats;   dogs"),
        ("naïve café", "NAÏVE CAFÉ"),
        ("twenty apples", "20 apples"),
    ],
)
def test_spelling_alone_makes_no_difference(one: str, other: str) -> None:
    index = Index.build([Item("a", (one,))], min_words=1)
    assert [leak[:2] for leak in index.find(normalised_words(other), 1.0, 12)] == [("a", 1.0)]


def test_chinese_is_compared_by_characters() -> None:
    item = "小明有三个苹果，又买了五个苹果，他一共有多少个苹果？"
    index = Index.build([Item("a", (item,))])
    assert index.find(normalised_words("题目：" + item.replace("五", "六") + "谢谢"), 0.6, 12)
    assert not index.find(normalised_words("今天天气很好，我们一起去公园玩吧，大家都很高兴。"), 0.6, 12)


def _slow_search(passage: list[str], words: list[str], ngram: int, coverage: float, min_covered: int) -> bool:
    """Tries every window, comparing words themselves."""
    span, length = min(ngram, len(passage)), len(passage)
    width, needed = math.ceil(1.25 * length), max(coverage * length, min(length, min_covered))
    for begin in range(len(words)):
        window = words[begin : begin + width]
        covered = {
            place + offset
            for at in range(len(window) - span + 1)
            for place in range(length - span + 1)
            if window[at : at + span] == passage[place : place + span]
            for offset in range(span)
        }
        if len(covered) >= needed - 1e-9:
            return True
    return False


@pytest.mark.parametrize("seed", range(40))
def test_what_is_found_is_what_a_slow_search_finds(seed: int) -> None:
    rng = random.Random(seed)
    alphabet = ["aa", "bb", "cc", "dd", "ee"][: rng.randrange(2, 6)]  # few words, so that runs repeat and overlap
    ngram, coverage, min_covered = rng.randrange(1, 6), rng.choice((0.3, 0.5, 0.6, 0.8, 1.0)), rng.randrange(1, 6)
    passages = [rng.choices(alphabet, k=rng.randrange(2, 12)) for _ in range(6)]
    index = Index.build([Item(str(n), (" ".join(p),)) for n, p in enumerate(passages)], ngram=ngram, min_words=2)
    words = rng.choices([*alphabet, "zz"], k=rng.randrange(0, 40))
    leaks = index.find(words, coverage, min_covered)
    expected = {str(n) for n, p in enumerate(passages) if _slow_search(p, words, ngram, coverage, min_covered)}
    assert {leak.name for leak in leaks} == expected
    assert all(0 <= leak.start < leak.stop <= len(words) and coverage <= leak.coverage <= 1 for leak in leaks)
    assert leaks == sorted(leaks, key=lambda leak: leak.start)


def test_a_leak_says_where_it_is() -> None:
    item = "tom has twelve red apples and gives five of them to his sister mary today"
    words = normalised_words(item)
    index = Index.build([Item("a", (item,))])
    before, after = ["before"] * 20, ["after"] * 20
    edited = [*words[:7], "ZZ", *words[8:]]
    (leak,) = index.find([*before, *edited, *after], 0.6, 12)
    assert (leak.start, leak.stop) == (20, 20 + len(words))
    first, second = index.find([*before, *words, *after, *words], 0.6, 12)
    assert (first.start, second.start) == (20, 40 + len(words))


def test_an_item_is_not_gathered_from_all_over_a_text() -> None:
    words = [f"word{n}" for n in range(40)]
    index = Index.build([Item("a", (" ".join(words),))])
    scattered = [word for at in range(0, 40, 5) for word in (*words[at : at + 5], *["other"] * 30)]
    assert not index.find(scattered, 0.6, 12)


def test_most_of_a_short_item_is_not_enough() -> None:
    item = "which of the following is the largest planet"
    index = Index.build([Item("a", (item,))])
    assert index.find(normalised_words(f"Q: {item.title()}?"), 0.6, 12)
    assert not index.find(normalised_words("which of the following is the largest city"), 0.6, 12)


def test_items_that_say_too_little_are_counted() -> None:
    index = Index.build([Item("a", ("why so",)), Item("b", ("x", "one two three four five six seven eight"))])
    assert index.skipped == 1
    assert not index.find(normalised_words("why so"), 0.6, 12)
    with pytest.raises(UserError, match="min_words=8"):
        Index.build([Item("a", ("why so",))])
    with pytest.raises(UserError, match="at least 1"):
        Index.build([], ngram=0)


def test_an_index_survives_disk_and_pickling(tmp_path: Path) -> None:
    items = [Item(f"f#{n}", (f"item {n} with enough words to be looked for ü 北京",)) for n in range(20)]
    index = Index.build(items, ngram=6)
    words = normalised_words(items[7].passages[0] + " and more")
    found = index.find(words, 1.0, 12)
    assert [leak.name for leak in found] == ["f#7"]
    index.save(tmp_path / "index.npz")
    for copy in (Index.load(tmp_path / "index.npz"), pickle.loads(pickle.dumps(index))):
        assert (copy.ngram, copy.names, copy.vocabulary, copy.skipped) == (6, index.names, index.vocabulary, 0)
        assert copy.find(words, 1.0, 12) == found


def test_pickles_hold_no_tables() -> None:
    index = Index.build([Item("a", ("one two three four five six seven eight",))])
    before = len(pickle.dumps(index))
    index.find(["one"], 0.5, 12)
    assert len(pickle.dumps(index)) == before < 5000


@pytest.mark.parametrize("content", [b"", b"no index", b"PK\x03\x04 damaged"])
def test_a_file_that_is_no_index_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.npz: no index"):
        Index.load(tmp_path / "a.npz")
