from __future__ import annotations

import dataclasses
import pickle
from collections.abc import Callable

import numpy as np
import pytest

from lm.common.errors import UserError
from lm.data import tokenizer as tokenizers
from lm.data.shards import Batch, Examples, Shards, evaluation_batches, iterate, training_examples

Make = Callable[..., Shards]
Texts = Callable[..., list[str]]


def assert_equal(left: Batch, right: Batch) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def joined(*batches: Batch) -> Batch:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def oracle_row(tokens: list[int], documents: list[int], valid: int) -> dict[str, list[float]]:
    """One row of a batch from T + 1 tokens and their documents, by the obvious loop; from `valid` on it is padding."""
    row: dict[str, list[float]] = {"tokens": [], "targets": [], "segments": [], "positions": [], "loss_mask": []}
    segment, position = 1, 0
    for t in range(len(tokens) - 1):
        if t and documents[t] != documents[t - 1]:
            segment, position = segment + 1, 0
        values = (tokens[t], tokens[t + 1], segment, position, float(documents[t] == documents[t + 1]))
        for name, value in zip(row, values, strict=True):
            row[name].append(value if t < valid else 0)
        position += 1
    return row


def stream(shards: Shards, texts: list[str]) -> tuple[list[int], list[int]]:
    tokenizer = tokenizers.load(shards.tokenizer_dir)
    tokens: list[int] = []
    documents: list[int] = []
    for number, text in enumerate(texts):
        ids = [*tokenizer.encode(text), tokenizer.eos_id]
        tokens, documents = tokens + ids, documents + [number] * len(ids)
    return tokens, documents


@pytest.fixture
def shards(make_shards: Make, random_texts: Texts) -> Shards:
    return make_shards(
        {"train": {"a": random_texts(1, 100), "b": random_texts(2, 33), "c": random_texts(3, 10, longest=9)}},
        shard_tokens=300,
    )


def test_a_batch_is_a_function_of_its_example_indices(shards: Shards) -> None:
    examples = training_examples(shards, "train", seq_len=16, seed=3)
    for first in (0, 3, 250, 10_000_019):
        whole = examples.batch(first, 8)
        assert_equal(whole, joined(examples.batch(first, 4), examples.batch(first + 4, 4)))
        assert_equal(whole, joined(*(examples.batch(first + i, 1) for i in range(8))))


def test_the_order_depends_on_the_seed_and_on_nothing_else(shards: Shards) -> None:
    first, again, other = (
        training_examples(Shards.open(shards.directory), "train", seq_len=16, seed=seed).batch(0, 50)
        for seed in (3, 3, 4)
    )
    assert_equal(first, again)
    assert not np.array_equal(first["tokens"], other["tokens"])


def test_a_pickled_copy_gives_the_same_batches(shards: Shards) -> None:
    examples = training_examples(shards, "train", seq_len=16, seed=3)
    before = examples.batch(0, 32)
    assert_equal(pickle.loads(pickle.dumps(examples)).batch(0, 32), before)


@pytest.mark.parametrize("seq_len", [1, 7, 16, 200])
def test_every_epoch_visits_each_window_once_in_its_own_order(
    make_shards: Make, random_texts: Texts, seq_len: int
) -> None:
    shards = make_shards({"train": {"a": random_texts(1, 40)}}, shard_tokens=300)
    source = shards.source("train", "a")
    examples = training_examples(shards, "train", seq_len=seq_len, seed=3)
    windows = source.n_tokens // seq_len
    _, starts = examples.locate(np.arange(5 * windows))
    offsets = set()
    for epoch_starts in starts.reshape(5, windows):
        covered = (epoch_starts[:, None] + np.arange(seq_len)) % source.n_tokens
        assert len(np.unique(covered)) == windows * seq_len
        offsets.add(int(epoch_starts.min()) % seq_len)
    assert len({tuple(row) for row in starts.reshape(5, windows).tolist()}) == 5
    assert len(offsets) > 1 or seq_len == 1


def test_rows_equal_a_plain_loop(make_shards: Make, random_texts: Texts) -> None:
    texts = random_texts(1, 100)
    shards = make_shards({"train": {"a": texts}}, shard_tokens=300)
    tokens, documents = stream(shards, texts)
    n, seq_len = len(tokens), 24
    examples = training_examples(shards, "train", seq_len=seq_len, seed=5)
    batch = examples.batch(0, 500)
    _, starts = examples.locate(np.arange(500))
    assert any(start + seq_len >= n for start in starts)
    for row, start in enumerate(starts.tolist()):
        places = [divmod(start + t, n) for t in range(seq_len + 1)]
        expected = oracle_row(
            [tokens[i] for _, i in places], [documents[i] + turn * len(texts) for turn, i in places], seq_len
        )
        for name, values in expected.items():
            assert batch[name][row].tolist() == values, (name, row)
    assert batch["index"].tolist() == list(range(500))


def test_the_token_after_a_documents_end_is_no_target(make_shards: Make) -> None:
    shards = make_shards({"train": {"a": ["abc", "de", "f"]}})
    tokenizer = tokenizers.load(shards.tokenizer_dir)
    (batch,) = evaluation_batches(shards, "train", seq_len=8, batch_size=1)
    a, b, c, d, e, f = (tokenizer.encode(x)[0] for x in "abcdef")
    end = tokenizer.eos_id
    assert batch["tokens"][0].tolist() == [a, b, c, end, d, e, end, f]
    assert batch["targets"][0].tolist() == [b, c, end, d, e, end, f, end]
    assert batch["loss_mask"][0].tolist() == [1, 1, 1, 0, 1, 1, 0, 1]
    assert batch["segments"][0].tolist() == [1, 1, 1, 1, 2, 2, 2, 3]
    assert batch["positions"][0].tolist() == [0, 1, 2, 3, 0, 1, 2, 0]


def test_the_mixture_has_the_weights_asked_for(shards: Shards) -> None:
    examples = training_examples(shards, "train", seq_len=8, seed=0, weights={"a": 6, "b": 3, "c": 1})
    names = [examples.sources[s].name for s in examples.locate(np.arange(1000))[0]]
    assert [names.count(name) for name in "abc"] == [600, 300, 100]
    assert all(abs(names[i : i + 10].count("a") - 6) <= 1 for i in range(0, 1000, 10))
    assert [examples.provenance(i)["source"] for i in range(30)] == names[:30]


def test_by_default_all_sources_end_their_epochs_together(shards: Shards) -> None:
    examples = training_examples(shards, "train", seq_len=8, seed=0)
    for epochs in examples.epochs(2000).values():
        assert epochs == pytest.approx(2000 * 8 / shards.n_tokens("train"), rel=0.2)


def test_a_stage_changes_the_mixture_and_each_source_goes_on_where_it_was(shards: Shards) -> None:
    weights = {"a": 1.0, "b": 1.0, "c": 2.0}
    plain = training_examples(shards, "train", seq_len=8, seed=0, weights=weights)
    staged = training_examples(
        shards, "train", seq_len=8, seed=0, weights=weights, stages=[(101, {"b": 1.0}), (150, {"a": 0.9, "c": 0.1})]
    )
    assert_equal(staged.batch(0, 101), plain.batch(0, 101))
    assert_equal(staged.batch(90, 80), joined(*(staged.batch(i, 1) for i in range(90, 170))))

    def draws(examples: Examples, count: int) -> dict[str, list[int]]:
        number_B, start_B = examples.locate(np.arange(count))
        return {s.name: start_B[number_B == n].tolist() for n, s in enumerate(examples.sources)}

    long, short = draws(plain, 2000), draws(staged, 400)
    assert len(short["b"]) == pytest.approx(25 + 49, abs=1)
    for name in "abc":  # each source's own sequence is that of the run without stages
        assert short[name] == long[name][: len(short[name])]
    assert staged.epochs(400) == {s.name: len(short[s.name]) * 8 / s.n_tokens for s in staged.sources}


@pytest.mark.parametrize(("seq_len", "batch_size"), [(7, 3), (16, 4), (500, 2), (5000, 2)])
def test_evaluation_predicts_every_token_once(
    make_shards: Make, random_texts: Texts, seq_len: int, batch_size: int
) -> None:
    texts = {"a": random_texts(1, 60), "b": random_texts(2, 5)}
    shards = make_shards({"validation": texts}, shard_tokens=300)
    predicted: list[tuple[int, int]] = []
    expected: list[tuple[int, int]] = []
    rows = []
    for batch in evaluation_batches(shards, "validation", seq_len=seq_len, batch_size=batch_size):
        assert all(v.shape[0] == batch_size for v in batch.values())
        mask = batch["loss_mask"] > 0
        assert not (mask & (batch["segments"] == 0)).any()
        predicted += zip(batch["tokens"][mask].tolist(), batch["targets"][mask].tolist(), strict=True)
        rows += [{k: v[i].tolist() for k, v in batch.items()} for i in range(batch_size)]
    row = 0
    for number, name in enumerate(texts):
        tokens, documents = stream(shards, texts[name])
        pairs = zip(tokens, tokens[1:], documents, documents[1:], strict=False)
        expected += [(left, right) for left, right, d, e in pairs if d == e]
        for start in range(0, len(tokens) - 1, seq_len):
            valid = min(seq_len, len(tokens) - 1 - start)
            pad = [0] * (seq_len - valid)
            want = oracle_row(
                tokens[start : start + valid + 1] + pad, documents[start : start + valid + 1] + pad, valid
            )
            assert rows[row] == {**want, "index": row, "source": number}
            row += 1
    assert predicted == expected
    assert all(r["index"] == -1 and not any(map(any, (r[n] for n in want))) for r in rows[row:])


def test_evaluation_of_a_part_takes_the_beginning_of_every_source(make_shards: Make, random_texts: Texts) -> None:
    shards = make_shards({"validation": {"a": random_texts(1, 300), "b": random_texts(2, 100)}})
    total = shards.n_tokens("validation")
    share_S = [source.n_tokens / total for source in shards.sources("validation")]
    parts = list(evaluation_batches(shards, "validation", seq_len=8, batch_size=4, max_tokens=total // 4))
    count = sum(int((batch["segments"] > 0).sum()) for batch in parts)
    assert total // 4 - 8 <= count <= total // 4 + 2 * 8
    for number, share in enumerate(share_S):
        mine = sum(int((batch["segments"][batch["source"] == number] > 0).sum()) for batch in parts)
        assert share * (total // 4) - 8 <= mine <= share * (total // 4) + 8
    everything = list(evaluation_batches(shards, "validation", seq_len=8, batch_size=4, max_tokens=10 * total))
    assert sum(int((batch["segments"] > 0).sum()) for batch in everything) == total - 2


def test_iterate_yields_the_planned_batches_in_order(shards: Shards) -> None:
    examples = training_examples(shards, "train", seq_len=16, seed=3)
    plan = [(0, 4), (4, 4), (8, 8), (100, 2), (3_000_000_000 // 2, 3)]
    for threads in (0, 1, 3):
        got = list(iterate(examples, iter(plan), threads=threads))
        assert len(got) == len(plan)
        for batch, (first, size) in zip(got, plan, strict=True):
            assert_equal(batch, examples.batch(first, size))


def test_provenance_names_the_documents_of_an_example(make_shards: Make, random_texts: Texts) -> None:
    texts = random_texts(1, 40)
    shards = make_shards({"train": {"a": texts}}, shard_tokens=100)
    tokenizer = tokenizers.load(shards.tokenizer_dir)
    examples = training_examples(shards, "train", seq_len=30, seed=1)
    batch = examples.batch(0, 20)
    for index in range(20):
        place = examples.provenance(index)
        first = [int(id.split(":")[1]) for id in place["documents"]]
        text = "".join(texts[n] + "\0" for n in sorted(first, key=lambda n: (n < max(first) - 30, n)))
        window = "".join(tokenizer.decode([t]) or "\0" for t in batch["tokens"][index])
        assert window in text
        raw = np.fromfile(shards.directory / place["shard"], "<u2")[place["offset"] :][:31]
        np.testing.assert_array_equal(batch["tokens"][index][: len(raw)], raw[:30])


def test_a_sequence_longer_than_a_source_is_refused_with_both_numbers(shards: Shards) -> None:
    tokens = shards.source("train", "c").n_tokens
    with pytest.raises(UserError, match=rf"train/c has {tokens} tokens, but a sequence of 200 needs 201"):
        training_examples(shards, "train", seq_len=200, seed=0)
    examples = training_examples(shards, "train", seq_len=200, seed=0, weights={"a": 1, "b": 1, "c": 0})
    assert examples.epochs(100)["c"] == 0
    training_examples(shards, "train", seq_len=tokens - 1, seed=0).batch(0, 100)


@pytest.mark.parametrize(
    ("weights", "stages", "message"),
    [
        ({"z": 1.0}, [], "no source 'z' in split 'train'; it has a, b, c"),
        ({"a": -1.0}, [], "a=-1.0; give a finite number"),
        ({"a": float("nan")}, [], "a=nan; give a finite number"),
        ({"a": 0.0}, [], "no source has a positive weight"),
        (None, [(0, {"a": 1.0})], "start 0 does not come after 0"),
        (None, [(9, {"a": 1.0}), (9, {"b": 1.0})], "start 9 does not come after 9"),
    ],
)
def test_a_useless_mixture_is_refused(shards: Shards, weights: dict, stages: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        training_examples(shards, "train", seq_len=8, seed=0, weights=weights, stages=stages)


def test_examples_are_values(shards: Shards) -> None:
    examples = training_examples(shards, "train", seq_len=8, seed=0)
    assert dataclasses.replace(examples, seed=1).batch(0, 2)["index"].tolist() == [0, 1]
