"""Planted leaks are found, verbatim and lightly edited, and clean text is let through."""

from __future__ import annotations

import pickle
import random
import re
import string
from functools import cache
from pathlib import Path

import pytest

from lm.common.errors import UserError
from lm.data.curate.benchmarks import Item
from lm.data.curate.decontaminate import Decontaminate, cut, index_benchmarks
from lm.data.curate.document import Document, Dropped
from lm.data.curate.leaks import Index, Leak, normalised_words
from lm.data.synthetic.crawl import Crawl

_SPELLED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@cache
def _vocabulary() -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices(string.ascii_lowercase, k=rng.randrange(2, 9))) for _ in range(600)]


def _prose(rng: random.Random, words: int) -> str:
    """Sentences whose words are as unevenly frequent as those of a language, with numbers in between."""
    ranks = [1 / (rank + 1) for rank in range(len(_vocabulary()))]
    drawn = rng.choices(_vocabulary(), ranks, k=words)
    drawn = [str(rng.randrange(100)) if rng.random() < 0.08 else word for word in drawn]
    marks = rng.choices(("", ",", "."), (0.8, 0.1, 0.1), k=words)
    return " ".join(
        word.capitalize() if rng.random() < 0.1 else word for word in map("".join, zip(drawn, marks, strict=True))
    )


@cache
def _items() -> tuple[Item, ...]:
    rng = random.Random(1)
    return tuple(Item(f"planted.jsonl#{n}", (_prose(rng, rng.randrange(20, 80)),)) for n in range(300))


@cache
def _step() -> Decontaminate:
    return Decontaminate(Index.build(_items()))


def _edit(rng: random.Random, text: str) -> str:
    """One light edit: a word changed, dropped or added, case, punctuation, white space, numbers as words."""
    words = text.split(" ")
    at = rng.randrange(len(words))
    kind = rng.choice(("change", "drop", "add", "case", "punctuation", "space", "numbers"))
    if kind in ("change", "drop", "add"):
        words[at : at + (kind != "add")] = [] if kind == "drop" else ["another"]
    elif kind == "case":
        words = [rng.choice((str.upper, str.lower))(word) for word in words]
    elif kind == "punctuation":
        words = [re.sub(r"[.,]", "", word) + rng.choice(("", "", "!", ";")) for word in words]
    elif kind == "space":
        words = [word + rng.choice(("", "\n", " \t")) for word in words]
    else:
        words = [_SPELLED[int(word)] if word.isdigit() and int(word) < len(_SPELLED) else word for word in words]
    return " ".join(words)


def _planted(rng: random.Random, text: str) -> Document:
    return Document("a#0", f"{_prose(rng, 200)}\n\n{text}\n\n{_prose(rng, 200)}", "test")


def _found(item: Item, result: Document | Dropped) -> bool:
    return isinstance(result, Dropped) and str(result.value).startswith(f"{item.name} ")


def test_every_verbatim_leak_is_found() -> None:
    rng = random.Random(2)
    assert all(_found(item, _step()(_planted(rng, item.passages[0]))) for item in _items())


@pytest.mark.parametrize("edits", [1, 2, 3])
def test_recall_of_lightly_edited_leaks_is_095(edits: int) -> None:
    rng, found = random.Random(edits), 0
    for item in _items():
        text = item.passages[0]
        for _ in range(edits):
            text = _edit(rng, text)
        found += _found(item, _step()(_planted(rng, text)))
    assert found >= 0.95 * len(_items())


def test_clean_text_is_let_through_untouched() -> None:
    rng = random.Random(3)
    documents = [Document(f"a#{n}", _prose(rng, 500), "test") for n in range(200)]
    assert all(_step()(document) is document for document in documents)


@pytest.mark.parametrize("seed", [0, 1])
def test_items_of_a_few_templates_are_told_from_text_of_the_same_templates(seed: int) -> None:
    crawl = Crawl(seed, 1000, {"clean": 0.6, "leak": 0.4})
    items = [Item(str(number), (item.question,)) for number, item in enumerate(crawl.benchmark)]
    step = Decontaminate(Index.build(items))
    found: dict[str, list[bool]] = {"clean": [], "verbatim": [], "edited": []}
    for page in (response.page for response in crawl):
        leaks = step.index.find(normalised_words(page.text), step.coverage, step.min_covered)
        if page.leak is None:
            found["clean"].append(bool(leaks))
        else:
            edit = "verbatim" if page.leak.edit == "verbatim" else "edited"
            found[edit].append(str(page.leak.item) in {leak.name for leak in leaks})
    assert len(found["clean"]) == 600
    assert min(len(found["verbatim"]), len(found["edited"])) > 150
    assert sum(found["clean"]) <= 0.005 * 600
    assert all(found["verbatim"])
    assert sum(found["edited"]) >= 0.95 * len(found["edited"])


def test_the_rule_names_the_item_and_how_much_of_it_was_found() -> None:
    item = _items()[17]
    assert _step()(_planted(random.Random(4), item.passages[0])) == Dropped(
        "decontaminate.coverage", "planted.jsonl#17 1.00", 0.6
    )


def test_a_cut_takes_the_passage_alone() -> None:
    step = Decontaminate(_step().index, action="cut")
    rng = random.Random(5)
    before, between, after = (_prose(rng, 150) for _ in range(3))
    one, two = _items()[3].passages[0], _edit(rng, _items()[8].passages[0])
    result = step(Document("a#0", f"{before}\n{one}\n\n{between}\n{two}\n{after}", "test", {"url": "u"}))
    assert isinstance(result, Document)
    assert result.text == f"{before}\n\n{between}\n\n{after}"
    assert result.meta == {"url": "u", "decontaminated": ["planted.jsonl#3", "planted.jsonl#8"]}
    assert step(result) is result


def test_a_document_that_is_nothing_but_a_leak_is_dropped_either_way() -> None:
    item = _items()[5]
    result = Decontaminate(_step().index, action="cut")(Document("a#0", item.passages[0], "test"))
    assert result == Dropped("decontaminate.coverage", f"{item.name} 1.00", 0.6)


def test_a_cut_leads_from_words_back_to_characters() -> None:
    text = "  ÉÉN… ﬁne\u00a0½ don't x y 1,234 （ＴＷＯ） a_b_cc ´dd end"
    words = normalised_words(text)
    assert words == [word for chunk in text.split() for word in normalised_words(chunk)]
    at = words.index("1234")
    assert cut(text, [Leak("a", 1.0, at, at + 1)]) == "ÉÉN… ﬁne\u00a0½ don't x y\n\n（ＴＷＯ） a_b_cc ´dd end"
    assert cut(text, [Leak("a", 1.0, 0, len(words))]) == ""
    assert cut("aa bb cc dd ee", [Leak("a", 1.0, 1, 4), Leak("b", 1.0, 2, 3)]) == "aa\n\nee"


def test_a_mistaken_setting_is_named() -> None:
    with pytest.raises(UserError, match=r"decontaminate\.action='remove'.*drop, cut"):
        Decontaminate(_step().index, action="remove")
    with pytest.raises(UserError, match=r"decontaminate\.coverage=60"):
        Decontaminate(_step().index, coverage=60)


def test_the_step_can_be_sent_to_a_worker() -> None:
    document = _planted(random.Random(6), _items()[0].passages[0])
    assert pickle.loads(pickle.dumps(_step()))(document) == _step()(document)


def test_benchmark_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    item = _items()[0].passages[0]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a" / "test.txt").write_text("\n".join(item.passages[0] for item in _items()[:5]), encoding="utf-8")
    (tmp_path / "b" / "test.txt").write_text(_items()[7].passages[0], encoding="utf-8")
    (tmp_path / "other.txt").write_text(_items()[8].passages[0], encoding="utf-8")
    paths = [tmp_path / "a" / "test.txt", tmp_path / "b" / "test.txt", tmp_path / "other.txt"]
    index = index_benchmarks(paths)
    assert index.names[0] == f"{paths[0].as_posix()}#0"
    assert index.names[5:] == (f"{paths[1].as_posix()}#0", "other.txt#0")
    assert isinstance(Decontaminate(index)(_planted(random.Random(7), item)), Dropped)
