"""Every benchmark layout is read as its items."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from lm.common.errors import UserError
from lm.data.curate.benchmarks import Item, read_items


def _jsonl(path: Path, *records: object) -> Path:
    path.write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")
    return path


def test_gsm8k_is_known_by_question_and_by_worked_answer(tmp_path: Path) -> None:
    path = _jsonl(
        tmp_path / "gsm8k-test.jsonl",
        {"question": "How many?", "answer": "Four. #### 4"},
        {"question": "b", "answer": "c"},
    )
    assert list(read_items(path)) == [
        Item("gsm8k-test.jsonl#0", ("How many?", "Four. #### 4")),
        Item("gsm8k-test.jsonl#1", ("b", "c")),
    ]


def test_humaneval_is_known_by_its_prompt(tmp_path: Path) -> None:
    record = {"task_id": "HumanEval/0", "prompt": "def f():\n", "canonical_solution": "    return 1\n", "test": "…"}
    path = tmp_path / "HumanEval.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(record).encode()))
    assert list(read_items(path)) == [Item("HumanEval.jsonl.gz#0", ("def f():\n",))]


@pytest.mark.parametrize(
    "record",
    [
        {
            "question": {
                "stem": "Which?",
                "choices": [{"text": "a cat", "label": "A"}, {"text": "a dog", "label": "B"}],
            },
            "answerKey": "A",
        },
        {"question": "Which?", "choices": {"text": ["a cat", "a dog"], "label": ["A", "B"]}, "answerKey": "A"},
        {"question": "Which?", "choices": ["a cat", "a dog"], "answer": 0},
    ],
    ids=["arc", "arc of the hub", "mmlu of the hub"],
)
def test_a_choice_is_known_by_its_question_with_and_without_choices(tmp_path: Path, record: object) -> None:
    path = _jsonl(tmp_path / "a.jsonl", record)
    assert list(read_items(path)) == [Item("a.jsonl#0", ("Which?", "Which? a cat a dog"))]


@pytest.mark.parametrize("header", ["", "question,A,B,C,D,answer\n"])
def test_mmlu_is_read_from_csv_with_a_header_or_without(tmp_path: Path, header: str) -> None:
    path = tmp_path / "anatomy_test.csv"
    path.write_text(header + '"Which, if any?",a,b,"c\nd",e,A\nWhy?,1,2,3,4,B\n', encoding="utf-8")
    assert list(read_items(path)) == [
        Item("anatomy_test.csv#0", ("Which, if any?", "Which, if any? a b c\nd e")),
        Item("anatomy_test.csv#1", ("Why?", "Why? 1 2 3 4")),
    ]


def test_other_jsonl_is_read_by_its_keys(tmp_path: Path) -> None:
    path = _jsonl(tmp_path / "a.jsonl", {"text": "One.", "options": ["x", "y"], "n": 3})
    assert list(read_items(path, ("text", "options"))) == [Item("a.jsonl#0", ("One.", "x y"))]


def test_plain_text_has_an_item_a_line(tmp_path: Path) -> None:
    path = tmp_path / "items.txt"
    path.write_text("\ufefffirst item\n\n second\r\n", encoding="utf-8")
    assert list(read_items(path)) == [Item("items.txt#0", ("first item",)), Item("items.txt#1", ("second",))]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"text": "x"}\n', "a.jsonl:1: no known benchmark.*text"),
        ("a.jsonl", '{"question": "x", "answer": "y"}\n{"question"\n', "a.jsonl:2: malformed JSON"),
        ("a.jsonl", "[1]\n", "a.jsonl:1: no known benchmark"),
        ("a.csv", "one,two\n", "a row of 2 cells"),
        ("a.txt", "\n \n", "holds no item"),
        ("a.parquet", "", "no benchmark file"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        list(read_items(path))
