"""The dial: derived values follow their sources, and explicit ones win."""

from __future__ import annotations

import pytest

from lm.common.errors import UserError
from lm.model import cost
from lm.train import sizing
from lm.train.defaults import pretrain


def resolved(**model: int):
    cfg = pretrain()
    for key, value in model.items():
        cfg.model[key] = value
    architecture, derived = sizing.resolve_model(cfg.model, vocab_size=1000, dtype="float32")
    return cfg, architecture, derived + sizing.resolve_training(cfg, architecture)


def test_one_dial_sets_everything() -> None:
    cfg, model, derived = resolved(size=4)
    assert (model.n_layers, model.d_model, model.n_heads, model.head_width, model.d_ff) == (4, 256, 4, 64, 704)
    assert cfg.train.tokens == 20 * cost.n_params(model)
    assert cfg.train.steps * cfg.train.batch_size * model.max_seq_len >= cfg.train.tokens
    assert all(item.source for item in derived)
    assert {item.key for item in derived} >= {"model.d_model", "train.batch_size", "optimizer.peak_lr", "train.steps"}


def test_batch_grows_and_rate_falls_with_size() -> None:
    small, large = resolved(size=2)[0], resolved(size=8)[0]
    assert small.train.batch_size < large.train.batch_size
    assert small.optimizer.peak_lr > large.optimizer.peak_lr


def test_deepseek_law_at_a_hand_computed_point() -> None:
    """Of the dial at 4, over as many tokens as make C = 1e20.

    A token costs 6 · 4 layers · (4 · 256² + 3 · 256 · 704) = 19,267,584 FLOPs in matrices and 12 · 4 layers · 4 heads
    · 64 · 256 tokens = 3,145,728 in attention. At 1e20 the rate is 0.3118 · 10^-2.5 = 9.86e-4, and the batch is
    0.2920 · 10^6.542 = 1,017,144 tokens, which are 3973.2 sequences of 256 and 3976 in eights.
    """
    cfg = pretrain()
    cfg.model.size = 4
    cfg.train.tokens = round(1e20 / (19_267_584 + 3_145_728))
    model, _ = sizing.resolve_model(cfg.model, 1000, "float32")
    sizing.resolve_training(cfg, model)
    assert cfg.optimizer.peak_lr == 9.86e-4
    assert cfg.train.batch_size == 3976


def test_deepseek_law_gives_the_settings_of_deepseek_7b() -> None:
    """30 layers of width 4096 over 2T tokens at length 4096: batch 2304, learning rate 4.2e-4 (Bi et al., 2024)."""
    cfg = pretrain()
    cfg.model.n_layers, cfg.model.d_model, cfg.model.n_heads, cfg.model.d_ff = 30, 4096, 32, 11008
    cfg.model.max_seq_len, cfg.model.tie_embeddings = 4096, False
    cfg.train.tokens = 2 * 10**12
    model, _ = sizing.resolve_model(cfg.model, 102_400, "bfloat16")
    sizing.resolve_training(cfg, model)
    assert cfg.optimizer.peak_lr == pytest.approx(4.2e-4, rel=0.02)
    assert cfg.train.batch_size == pytest.approx(2304, rel=0.05)


def test_explicit_values_win() -> None:
    cfg = pretrain()
    cfg.model.size, cfg.model.d_ff, cfg.model.n_heads = 4, 100, 8
    cfg.train.steps, cfg.train.batch_size, cfg.optimizer.peak_lr = 7, 3, 0.5
    model, derived = sizing.resolve_model(cfg.model, 1000, "float32")
    derived += sizing.resolve_training(cfg, model)
    assert (model.d_ff, model.n_heads, model.head_width) == (100, 8, 32)
    assert (cfg.train.steps, cfg.train.batch_size, cfg.optimizer.peak_lr, cfg.train.tokens) == (7, 3, 0.5, None)
    assert not {item.key for item in derived} & {"model.d_ff", "train.steps", "train.batch_size", "optimizer.peak_lr"}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({}, r"model.size: set the dial"),
        ({"size": 2, "vocab_size": 10}, r"model.vocab_size=10: the tokenizer has 1000; use that or more"),
        ({"n_layers": 2, "d_model": 64, "n_heads": 3}, r"model.n_heads=3 does not divide model.d_model=64"),
    ],
)
def test_refusals(model: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolved(**model)


def test_the_weight_of_what_is_foretold_is_for_a_model_that_foretells() -> None:
    cfg = pretrain()
    cfg.model.size, cfg.model.predict_ahead = 2, 1
    model, _ = sizing.resolve_model(cfg.model, 1000, "float32")
    sizing.resolve_training(cfg, model)
    assert cfg.train.ahead_weight == 0.3
    cfg = pretrain()
    cfg.model.size, cfg.train.ahead_weight = 2, 0.5
    model, _ = sizing.resolve_model(cfg.model, 1000, "float32")
    with pytest.raises(UserError, match=r"train.ahead_weight=0.5: model.predict_ahead=0 foretells nothing"):
        sizing.resolve_training(cfg, model)
    assert cfg.train.ahead_weight == 0.5


def test_a_mesh_is_chosen_by_what_fits() -> None:
    """16 bytes a parameter into half of a device: not at all, whole, in the fewest parts, in none."""
    _, model, _ = resolved(size=4)
    state = 16 * cost.n_params(model)
    found = {}
    for device_bytes in (None, 2 * state, 2 * state - 2, 2 * state // 3):
        cfg = pretrain()
        chosen = sizing.resolve_mesh(cfg.mesh, model, 8, device_bytes)
        assert all(item.source for item in chosen)
        found[device_bytes] = (cfg.mesh.data, cfg.mesh.fsdp)
    assert list(found.values()) == [(8, None), (8, None), (4, 2), (2, 4)]
    with pytest.raises(UserError, match=r"mesh: .* do not fit 8 devices of"):
        sizing.resolve_mesh(pretrain().mesh, model, 8, state // 5)
    cfg = pretrain()
    cfg.mesh.tensor = 2
    assert sizing.resolve_mesh(cfg.mesh, model, 8, state // 5) == [], "what is set is left alone"
