"""Held-out loss against a direct computation, window by window and document by document."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.common.errors import UserError
from lm.common.metrics import MetricWriter, read_metrics
from lm.data import tokenizer as tokenizers
from lm.data.readers import Document
from lm.data.readers.tokens import TokenDocument
from lm.data.shards import Shards, write_shards, write_token_shards
from lm.data.tokenizer import ids
from lm.evals.perplexity import Perplexity
from lm.model import decoder
from lm.model.config import ModelConfig

LETTERS = "abcé中𝄞\n"  # of 1, 2, 3 and 4 bytes
SEQ_LEN = 8


class Setting(NamedTuple):
    """A tiny model with drawn parameters, and held-out text in windows that cut documents and do not fill a batch."""

    model: ModelConfig
    params: Any
    tokenizer: tokenizers.Tokenizer
    tokenizer_dir: Path
    shards: Shards
    texts: list[str]

    def score(self, *, batch_size: int = 4, max_tokens: int = 0) -> dict[str, float]:
        evaluator = Perplexity(
            self.model,
            self.shards,
            self.tokenizer.token_bytes(),
            split="val",
            batch_size=batch_size,
            max_tokens=max_tokens,
        )
        return evaluator(self.params)


def write(output: Path, tokenizer_dir: Path, texts: Sequence[str], *, control: bool) -> Shards:
    documents = [Document(str(n), text, "text") for n, text in enumerate(texts)]
    splits: Mapping[str, Mapping[str, list[Document]]] = {"val": {"text": documents}}
    write_shards(splits, tokenizer_dir, output, config={}, inputs={}, bos=control, eos=control, workers=1)
    return Shards.open(output)


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("perplexity")
    config = tokenizers.defaults()
    config.kind = "char"
    tokenizer = tokenizers.train(config, [LETTERS], folder / "tokenizer", inputs={})
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list(LETTERS), size)) for size in rng.integers(1, 25, 12)]
    shards = write(folder / "shards", folder / "tokenizer", texts, control=True)
    model = ModelConfig(tokenizer.vocab_size, 1, 2, 1, 16, 24, 8, SEQ_LEN)
    params = jax.tree.map(lambda a: 4 * a, jax.jit(decoder.init, static_argnums=0)(model, jax.random.key(0)))
    return Setting(model, params, tokenizer, folder / "tokenizer", shards, texts)


def predictions(
    setting: Setting, windows: int | None = None, texts: Sequence[str] | None = None
) -> list[tuple[int, float]]:
    """Every predicted token with its nats, from runs of the model over one document's part of one window alone."""

    @jax.jit
    def log_probabilities(tokens_1T: jax.Array) -> jax.Array:
        output = decoder.Decoder(setting.model).apply({"params": setting.params}, tokens_1T)
        return jax.nn.log_softmax(output.logits_BTV[0])

    tokenizer = setting.tokenizer
    stream, document = [], []
    for number, text in enumerate(setting.texts if texts is None else texts):
        encoded = [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]
        stream += encoded
        document += [number] * len(encoded)
    found = []
    for start in list(range(0, len(stream) - 1, SEQ_LEN))[:windows]:
        window = range(start, min(start + SEQ_LEN + 1, len(stream)))
        for number in sorted({document[i] for i in window}):
            part = [stream[i] for i in window if document[i] == number]
            padded = part[:-1] + [0] * (SEQ_LEN + 1 - len(part))  # behind: what causal attention does not see
            log_TV = log_probabilities(jnp.array([padded]))
            found += [(target, -float(log_TV[t, target])) for t, target in enumerate(part[1:])]
    return found


def test_figures_equal_a_direct_computation(setting: Setting) -> None:
    found, control = predictions(setting), set(setting.tokenizer.control.values())
    nats = [value for _, value in found]
    text_nats = [value for token, value in found if token not in control]
    n_bytes = sum(len(text.encode()) for text in setting.texts)  # behind <bos>, all of the text is predicted
    loss = sum(nats) / len(nats)
    assert len(text_nats) == sum(map(len, setting.texts)) == len(nats) - len(setting.texts)
    assert setting.score() == pytest.approx(
        {
            "val/loss": loss,
            "val/bits_per_byte": sum(text_nats) / math.log(2) / n_bytes,
            "val/perplexity": math.exp(loss),
        },
        rel=1e-5,
    )


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_batch_size_changes_nothing(setting: Setting, batch_size: int) -> None:
    """Nor does padding: no batch size but 1 divides the windows, and 64 is mostly padding."""
    windows = math.ceil((setting.shards.n_tokens("val") - 1) / SEQ_LEN)
    assert batch_size == 1 or windows % batch_size
    assert setting.score(batch_size=batch_size) == pytest.approx(setting.score(batch_size=4), rel=1e-6)


def test_max_tokens_takes_the_first_windows(setting: Setting) -> None:
    nats = [value for _, value in predictions(setting, windows=3)]
    assert setting.score(max_tokens=3 * SEQ_LEN)["val/loss"] == pytest.approx(sum(nats) / len(nats), rel=1e-5)


def test_pieces_of_the_loss_are_the_whole(setting: Setting) -> None:
    token_bytes = setting.tokenizer.token_bytes()
    pieces = Perplexity(
        setting.model, setting.shards, token_bytes, split="val", batch_size=4, max_tokens=0, loss_chunk=3
    )
    assert pieces(setting.params) == pytest.approx(setting.score(), rel=1e-6)


def write_sources(setting: Setting, output: Path, sources: Mapping[str, Sequence[str]]) -> Shards:
    splits = {"val": {name: [Document(str(n), t, name) for n, t in enumerate(ts)] for name, ts in sources.items()}}
    write_shards(splits, setting.tokenizer_dir, output, config={}, inputs={}, bos=True, eos=True, workers=1)
    return Shards.open(output)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_every_source_has_figures_of_its_own(setting: Setting, tmp_path: Path, batch_size: int) -> None:
    """Batches hold rows of several sources; the whole is the mean over all tokens, not over the sources."""
    sources = {"long": setting.texts[:8], "short": setting.texts[8:]}
    shards = write_sources(setting, tmp_path, sources)
    token_bytes = setting.tokenizer.token_bytes()
    values = Perplexity(setting.model, shards, token_bytes, split="val", batch_size=batch_size, max_tokens=0)(
        setting.params
    )
    control, expected, everything = set(setting.tokenizer.control.values()), {}, []
    for name, texts in sources.items():
        found = predictions(setting, texts=texts)
        everything += [nats for _, nats in found]
        text_nats = sum(nats for token, nats in found if token not in control)
        expected[f"val/{name}/loss"] = sum(nats for _, nats in found) / len(found)
        expected[f"val/{name}/bits_per_byte"] = text_nats / math.log(2) / sum(len(t.encode()) for t in texts)
    assert {name: value for name, value in values.items() if name.count("/") == 2} == pytest.approx(expected, rel=1e-5)
    assert values["val/loss"] == pytest.approx(sum(everything) / len(everything), rel=1e-5)


def test_a_source_with_nothing_to_predict_has_no_figures(setting: Setting, tmp_path: Path) -> None:
    splits = {"val": {"a": [Document("0", "abc" * 9, "a")], "b": [Document("0", "a", "b"), Document("1", "b", "b")]}}
    write_shards(splits, setting.tokenizer_dir, tmp_path, config={}, inputs={}, bos=False, eos=False, workers=1)
    names = evaluator(setting, Shards.open(tmp_path))(setting.params).keys()
    assert {"val/a/loss", "val/a/bits_per_byte"} == {name for name in names if name.count("/") == 2}


def test_results_do_not_pile_up_on_the_device(setting: Setting) -> None:
    """When a batch is fetched, only the results of the one before may still be out."""
    alive: list[int] = []

    class Watched(Perplexity):
        def _batches(self) -> Iterator[dict[str, np.ndarray]]:
            for batch in super()._batches():
                alive.append(len(jax.live_arrays()))
                yield batch

    Watched(setting.model, setting.shards, setting.tokenizer.token_bytes(), split="val", batch_size=4, max_tokens=0)(
        setting.params
    )
    assert len(alive) > 4
    assert len(set(alive[2:])) == 1


def test_token_files_have_no_bits_per_byte(setting: Setting, tmp_path: Path) -> None:
    """Nobody knows what text their tokens stand for: NaN, and null in the metrics file; never 0."""
    stand_in = ids.write(tmp_path / "ids", n_ids=setting.model.vocab_size - 4, end_id=None, inputs={})
    documents = [TokenDocument("0", np.arange(3).repeat(5), "tokens")]
    splits = {"val": {"text": documents}}
    write_token_shards(splits, tmp_path / "ids", tmp_path / "shards", config={}, inputs={})
    shards = Shards.open(tmp_path / "shards")
    values = Perplexity(setting.model, shards, stand_in.token_bytes(), split="val", batch_size=4, max_tokens=0)(
        setting.params
    )
    assert math.isnan(values["val/bits_per_byte"])
    assert math.isfinite(values["val/loss"])
    with MetricWriter(tmp_path / "metrics.jsonl") as writer:
        writer.write(1, values)
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["val/bits_per_byte"] is None
    assert math.isnan(read_metrics(tmp_path / "metrics.jsonl")[0]["val/bits_per_byte"])


def evaluator(setting: Setting, shards: Shards, max_tokens: int = 0) -> Callable[[Any], dict[str, float]]:
    token_bytes = setting.tokenizer.token_bytes()
    return Perplexity(setting.model, shards, token_bytes, split="val", batch_size=4, max_tokens=max_tokens)


def test_nothing_to_predict_is_refused_before_any_work(setting: Setting, tmp_path: Path) -> None:
    shards = write(tmp_path / "shards", setting.tokenizer_dir, ["a", "b", "c"], control=False)
    with pytest.raises(UserError, match=r"split val \(3 tokens in 3 documents\) has no token to predict .*; hold out"):
        evaluator(setting, shards)


def test_nothing_to_predict_within_max_tokens(setting: Setting, tmp_path: Path) -> None:
    shards = write(tmp_path / "shards", setting.tokenizer_dir, [*("a" * 2 * SEQ_LEN), "ab"], control=False)
    assert evaluator(setting, shards)(setting.params)["val/loss"] > 0
    with pytest.raises(UserError, match=r"to predict from one before it within the first 3; hold out"):
        evaluator(setting, shards, max_tokens=3)(setting.params)
