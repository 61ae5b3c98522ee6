"""Items are found in texts as a slow search finds them; edits are seen through, and common phrases are not leaks."""

from __future__ import annotations

import math
import pickle
import random
from fractions import Fraction

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


def _runs(words: list[str], span: int) -> list[tuple[str, ...]]:
    return [tuple(words[at : at + span]) for at in range(len(words) - span + 1)]


def _slow_shares(passages: list[list[str]], words: list[str], ngram: int, min_covered: int) -> list[float]:
    """Returns how much of each passage is in the best window, trying all of them and comparing words themselves."""

    def weight(passage: list[str], has: list[tuple[str, ...]]) -> tuple[int, Fraction]:
        span = min(ngram, len(passage))
        best = [Fraction(0)] * len(passage)
        for place, run in enumerate(_runs(passage, span)):
            owners = sum(run in _runs(other, span) for other in passages if min(ngram, len(other)) == span)
            for at in range(place, place + span):
                best[at] = max(best[at], Fraction(int(run in has), owners))
        return sum(value > 0 for value in best), sum(best, Fraction(0))

    shares = []
    for passage in passages:
        span, width = min(ngram, len(passage)), math.ceil(1.25 * len(passage))
        found = [weight(passage, _runs(words[begin : begin + width], span)) for begin in range(len(words))]
        enough = [value for covered, value in found if covered >= min(len(passage), min_covered)]
        shares.append(float(max(enough, default=Fraction(0)) / weight(passage, _runs(passage, span))[1]))
    return shares


@pytest.mark.parametrize("seed", range(40))
def test_what_is_found_is_what_a_slow_search_finds(seed: int) -> None:
    rng = random.Random(seed)
    alphabet = ["aa", "bb", "cc", "dd", "ee"][: rng.randrange(2, 6)]  # few words, so that runs repeat and overlap
    ngram, coverage, min_covered = rng.randrange(1, 6), rng.choice((0.3, 0.5, 0.6, 0.8, 1.0)), rng.randrange(1, 6)
    passages = [rng.choices(alphabet, k=rng.randrange(2, 12)) for _ in range(6)]
    index = Index.build([Item(str(n), (" ".join(p),)) for n, p in enumerate(passages)], ngram=ngram, min_words=2)
    words = rng.choices([*alphabet, "zz"], k=rng.randrange(0, 40))
    leaks = index.find(words, coverage, min_covered)
    expected = {str(n): x for n, x in enumerate(_slow_shares(passages, words, ngram, min_covered))}
    best = {name: max(leak.coverage for leak in leaks if leak.name == name) for name in {leak.name for leak in leaks}}
    assert best == pytest.approx({name: share for name, share in expected.items() if share >= coverage - 1e-9})
    assert all(0 <= leak.start < leak.stop <= len(words) for leak in leaks)
    assert leaks == sorted(leaks, key=lambda leak: leak.start)


def test_a_template_that_items_share_is_no_leak() -> None:
    template = "in the basket there are {} {} on the table and {} takes one away how many {} are left on the table"
    told = [("six", "plums", "tom"), ("9", "pears", "ann"), ("two", "caps", "sue"), ("ten", "hats", "bob")]
    index = Index.build([Item(f"f#{n}", (template.format(*x, x[1]),)) for n, x in enumerate(told)])
    assert not index.find(template.format("four", "figs", "jim", "figs").split(), 0.6, 12)
    for n, (number, things, name) in enumerate(told):
        words = template.format(number, things, name, things).split()
        assert [leak.name for leak in index.find(words, 0.6, 12)] == [f"f#{n}"]
        words[words.index("takes")] = "puts"
        assert [leak.name for leak in index.find(words, 0.6, 12)] == [f"f#{n}"]


def test_an_item_that_several_benchmarks_have_is_found_in_each() -> None:
    words = [f"word{n}" for n in range(20)]
    index = Index.build([Item(name, (" ".join(words),)) for name in "abc"])
    assert [leak[:2] for leak in index.find(words, 1.0, 12)] == [("a", 1.0), ("b", 1.0), ("c", 1.0)]
    assert not index.find(words[:11], 0.6, 10)


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


def test_items_that_say_too_little_are_not_looked_for() -> None:
    index = Index.build([Item("a", ("why so",)), Item("b", ("x", "one two three four five six seven eight"))])
    assert not index.find(normalised_words("why so"), 0.6, 12)
    with pytest.raises(UserError, match="min_words=8"):
        Index.build([Item("a", ("why so",))])
    with pytest.raises(UserError, match="at least 1"):
        Index.build([], ngram=0)


def test_an_index_survives_pickling() -> None:
    items = [Item(f"f#{n}", (f"item {n} with enough words to be looked for ü 北京",)) for n in range(20)]
    index = Index.build(items, ngram=6)
    words = normalised_words(items[7].passages[0] + " and more")
    found = index.find(words, 1.0, 12)
    assert [leak.name for leak in found] == ["f#7"]
    copy = pickle.loads(pickle.dumps(index))
    assert (copy.ngram, copy.names, copy.vocabulary) == (6, index.names, index.vocabulary)
    assert copy.find(words, 1.0, 12) == found


def test_pickles_hold_no_tables() -> None:
    index = Index.build([Item("a", ("one two three four five six seven eight",))])
    before = len(pickle.dumps(index))
    index.find(["one"], 0.5, 12)
    assert len(pickle.dumps(index)) == before < 5000
