"""Our logits are Hugging Face's own, for every family: import, export, padding, past the context, with a cache."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.hf_compare import Result, batch, difference, measure, texts
from benchmarks.hf_parity import table
from benchmarks.hf_specimens import CONTEXT, SPECIMENS, build
from tests.convert.hf.conftest import published

# Between them every kind of layer, position and head; the other specimens are of their kind, and slow.
QUICK = ("llama", "gpt2", "gemma2", "gemma3", "phi", "gpt_neox", "deepseek_v2", "gpt_oss", "mamba", "recurrent_gemma")
EACH = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in SPECIMENS]


@pytest.mark.parametrize("name", EACH)
def test_logits_and_greedy_texts_are_those_of_hugging_face(name: str, tmp_path: Path) -> None:
    specimen = SPECIMENS[name]
    lengths = (8, min(CONTEXT + 17, max(specimen.lengths)))
    result = measure(replace(specimen, lengths=lengths), tmp_path, steps=12)
    assert result.good, result


@pytest.mark.slow
@pytest.mark.parametrize("name", SPECIMENS)
def test_at_every_length_and_over_64_greedy_tokens(name: str, tmp_path: Path) -> None:
    result = measure(SPECIMENS[name], tmp_path)
    assert result.good, result
    assert len(result.ties) <= 2


@pytest.mark.parametrize("name", EACH)
def test_a_specimen_shows_every_kind_of_layer_at_activations_of_order_one(name: str) -> None:
    import torch

    model = build(SPECIMENS[name])
    with torch.no_grad():
        out = model(torch.from_numpy(texts((40,))[0])[None].long(), output_hidden_states=True, use_cache=False)
    assert model.config.num_hidden_layers >= 7
    assert all(0.1 < state.std() < 10 for state in out.hidden_states)
    assert 0.3 < out.logits.std() < 5


def test_the_published_table_has_a_row_for_each_specimen() -> None:
    assert [row[0] for row in published("hf_parity.md")] == [*SPECIMENS]


def test_texts_are_padded_on_the_left_and_counted_from_their_first_token() -> None:
    made = batch([np.array([5, 6, 7]), np.array([8])])
    assert made.tokens.tolist() == [[5, 6, 7], [0, 0, 8]]
    assert made.real.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert made.positions.tolist() == [[0, 1, 2], [0, 0, 0]]


def test_a_difference_is_relative_to_the_largest_logit_and_what_is_no_number_differs() -> None:
    wanted = np.array([[1.0, -4.0], [2.0, 0.0]])
    assert difference(wanted + np.array([[0, 0], [0, 1e-3]]), wanted) == pytest.approx(2.5e-4)
    assert difference(np.full((2, 2), np.nan), wanted) == float("inf")


def test_a_wrong_token_spoils_a_result_and_a_near_tie_does_not() -> None:
    assert Result(7, (8,), {"within": 1e-6}, ties=["text 1, token 2"]).good
    assert not Result(7, (8,), {"within": 1e-6}, wrong=["text 1, token 2"]).good
    assert not Result(7, (8,), {"within": 3e-5}).good


def test_the_table_counts_tokens_and_lists_near_ties_and_wrong_ones() -> None:
    gaps = {"within": 1.23e-6, "past": 2.5e-6, "padded": 1e-6, "cached": 3e-6, "itself": 4e-6, "export": 5e-7}
    result = Result(7, (8, 33), gaps, ties=["text 1, token 2"], wrong=["text 2, token 3"], tokens=36)
    alone = Result(3, (8,), {"within": 1e-6, "cached": 0.0, "itself": 0.0, "export": 0.0}, tokens=12)
    lines = list(table({"llama": result, "mamba": alone}))
    assert lines[2] == "| llama | 7 | 8, 33 | 2.5e-06 | 5.0e-07 | 1.0e-06 | 4.0e-06 | 34 of 36 |"
    assert lines[3] == "| mamba | 3 | 8 | 1.0e-06 | 0.0e+00 | none | 0.0e+00 | 12 of 12 |"
    assert "- llama: near-tie at text 1, token 2" in lines
    assert "- llama: WRONG TOKEN at text 2, token 3" in lines
