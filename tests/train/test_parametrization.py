"""µP: keys and learning rates by hand, and the coordinate check of Yang et al. (2022, appendix D.1)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from lm.common.errors import UserError
from lm.model import decoder
from lm.model.norms import Norm
from lm.train import defaults, sizing
from lm.train.loss import token_nats
from lm.train.optimizer import Optimizer
from lm.train.parametrization import width_ratio

WIDTHS, STEPS, SEEDS = (32, 96, 256), 4, 4


def config(width: int, parametrization: str = "mup", *, heads: str = "more", optimizer: str = "adamw") -> ConfigDict:
    """A model of two layers whose heads grow in number, or in width; its base is the narrowest."""
    cfg = defaults.pretrain()
    cfg.model.update(n_layers=2, d_model=width, d_ff=2 * width, max_seq_len=16, tie_embeddings=False)
    cfg.model.update(n_heads=4) if heads == "wider" else cfg.model.update(head_width=8)
    cfg.model.parametrization = parametrization
    if parametrization == "mup":
        cfg.model.base_width = WIDTHS[0]
        cfg.model.base_head_width = 8 if heads == "wider" else 0
    cfg.optimizer.update(name=optimizer, peak_lr=0.01 if optimizer == "adamw" else 0.02, weight_decay=0.0)
    return cfg


def changes(cfg: ConfigDict) -> dict[str, float]:
    """Returns the root mean square of what a few steps change: the last layer's output, and the logits.

    Of several starts, in the mean of logarithms. The head starts at 0, so that what is seen is the steps' work alone.
    """
    model, _ = sizing.resolve_model(cfg.model, 64, "float32")
    unnormed = replace(model, final_norm=False)
    optimizer = Optimizer.from_config(cfg.optimizer, lambda _: jnp.float32(1.0), width_ratio(cfg.model))
    tokens_BT = jax.random.randint(jax.random.key(7), (2, 17), 0, 64)

    def look(params: Any) -> dict[str, jax.Array]:
        inner = {"params": {name: value for name, value in params.items() if name != "final_norm"}}
        stream_BTD = decoder.Decoder(unnormed).apply(inner, tokens_BT[:, :-1], method="hidden").h_BTD
        h_BTD = Norm(model).apply({"params": params["final_norm"]}, stream_BTD)
        logits_BTV = decoder.Decoder(model).apply({"params": params}, h_BTD, method="unembed")
        return {"stream": stream_BTD, "logits": logits_BTV}

    def loss(params: Any) -> jax.Array:
        return jnp.mean(token_nats(look(params)["logits"], tokens_BT[:, 1:])[0])

    def step(carry: Any, _: None) -> tuple[Any, None]:
        params, state = carry
        return optimizer.update(jax.grad(loss)(params), state, params), None

    def one(key: jax.Array) -> dict[str, jax.Array]:
        params = decoder.init(model, key)
        params = {**params, "head": jax.tree.map(lambda a: 0.0 * a, params["head"])}
        (after, _), _ = jax.lax.scan(step, (params, optimizer.init(params)), None, length=STEPS)
        return jax.tree.map(lambda a, b: jnp.sqrt(jnp.mean(jnp.square(b - a))), look(params), look(after))

    found = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), SEEDS))
    return {name: float(jnp.mean(jnp.log(values))) for name, values in found.items()}


def slopes(*args: str, **how: str) -> dict[str, float]:
    """Returns by which power of the width the changes grow."""
    found = [changes(config(width, *args, **how)) for width in WIDTHS]
    return {name: np.polyfit(np.log(WIDTHS), [one[name] for one in found], 1)[0] for name in found[0]}


@pytest.mark.parametrize("heads", ["more", pytest.param("wider", marks=pytest.mark.slow)])
def test_steps_change_as_much_at_any_width_under_mup(heads: str) -> None:
    found = slopes("mup", heads=heads)
    assert all(abs(slope) < 0.15 for slope in found.values()), found


def test_steps_change_more_the_wider_a_model_is_without_mup() -> None:
    found = slopes("standard")
    assert all(slope > 0.4 for slope in found.values()), found


@pytest.mark.slow
def test_so_they_do_with_muon() -> None:
    mup, standard = slopes("mup", optimizer="muon"), slopes("standard", optimizer="muon")
    assert all(abs(slope) < 0.15 for slope in mup.values()), mup
    assert standard["logits"] > 0.3


def test_at_the_base_width_mup_is_the_standard() -> None:
    mup, standard = config(32, "mup", heads="wider"), config(32, "standard", heads="wider")
    assert width_ratio(mup.model) == width_ratio(standard.model) == 1.0
    (a, _), (b, _) = (sizing.resolve_model(cfg.model, 64, "float32") for cfg in (mup, standard))
    assert replace(a, attention_scale=0.0) == b
    assert a.attention_scale == pytest.approx(8**-0.5)


def test_the_multipliers_of_the_forward_pass_are_keys_of_the_architecture() -> None:
    """At four times the width: logits by 1/4, and heads four times as wide score by √8/32."""
    cfg = config(128, heads="wider")
    model, derived = sizing.resolve_model(cfg.model, 64, "float32")
    assert (model.logit_scale, model.attention_scale) == (0.25, pytest.approx(8**0.5 / 32))
    assert {"model.logit_scale", "model.attention_scale"} <= {item.key for item in derived}
    more, _ = sizing.resolve_model(config(128).model, 64, "float32")
    assert (more.logit_scale, more.attention_scale) == (0.25, 0.0)


@pytest.mark.parametrize(("key", "value"), [("logit_scale", 0.5), ("attention_scale", 0.3)])
def test_a_scale_of_its_own_is_refused_where_mup_sets_it(key: str, value: float) -> None:
    """As an architecture may have; but what was derived once, and is read again from a run, is the same."""
    cfg = config(128, heads="wider")
    sizing.resolve_model(cfg.model, 64, "float32")
    again, _ = sizing.resolve_model(cfg.model, 64, "float32")
    assert again.logit_scale == 0.25
    cfg.model[key] = value
    with pytest.raises(UserError, match=rf"model\.{key}={value}: model\.parametrization=mup sets it, to 0\."):
        sizing.resolve_model(cfg.model, 64, "float32")


@pytest.mark.parametrize(("name", "factor"), [("adamw", 1 / 4), ("muon", 1 / 2)])
def test_hidden_matrices_alone_learn_slower_and_decay_the_same(name: str, factor: float) -> None:
    cfg = config(128, optimizer=name)
    model, _ = sizing.resolve_model(cfg.model, 64, "float32")
    params = decoder.init(model, jax.random.key(0))
    grads = jax.tree.map(lambda a: jax.random.normal(jax.random.key(1), a.shape), params)
    cfg.optimizer.weight_decay = 0.1

    def moved(ratio: float, by: Any) -> Any:
        optimizer = Optimizer.from_config(cfg.optimizer, lambda _: jnp.float32(1.0), ratio)
        after, _ = optimizer.update(by, optimizer.init(params), params)
        return jax.tree.map(jnp.subtract, after, params)

    nothing = jax.tree.map(jnp.zeros_like, grads)
    ours, standard, decay = moved(width_ratio(cfg.model), grads), moved(1.0, grads), moved(1.0, nothing)
    jax.tree.map(np.testing.assert_array_equal, moved(4.0, nothing), decay)
    for path, times in ((("layers", "block_0", "mlp", "up", "kernel"), factor), (("head", "kernel"), 1.0)):
        a, b, c = (_at(tree, path) for tree in (ours, standard, decay))
        np.testing.assert_allclose(a - c, times * (b - c), rtol=1e-4, atol=1e-7)


def _at(tree: Any, path: tuple[str, ...]) -> np.ndarray:
    for name in path:
        tree = tree[name]
    return np.asarray(tree)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"parametrization": "ntk"}, "model.parametrization=ntk: choose one of standard, mup"),
        ({"parametrization": "mup"}, "model.base_width=0: model.parametrization=mup needs the d_model"),
        (
            {"parametrization": "mup", "base_width": 64, "base_head_width": -8},
            "model.base_head_width=-8: must be positive",
        ),
        (
            {"parametrization": "mup", "base_width": 64, "base_head_width": 8, "mixer": "latent"},
            "model.base_head_width=8: has no meaning for model.mixer=latent",
        ),
        (
            {"parametrization": "mup", "base_width": 64, "base_head_width": 8, "mixer": "gru"},
            "model.base_head_width=8: has no meaning for model.mixer=gru",
        ),
        ({"base_width": 64}, "model.base_width=64: would change nothing, as model.parametrization is standard"),
    ],
)
def test_refusals(keys: dict[str, Any], message: str) -> None:
    cfg = defaults.pretrain()
    cfg.model.size = 2
    cfg.model.update(keys)
    with pytest.raises(UserError) as error:
        sizing.resolve_model(cfg.model, 64, "float32")
    assert str(error.value).startswith(message)


def test_the_learning_rate_is_asked_for() -> None:
    cfg = config(64)
    cfg.optimizer.peak_lr = None
    model, _ = sizing.resolve_model(cfg.model, 64, "float32")
    with pytest.raises(UserError, match=r"optimizer\.peak_lr: not set"):
        sizing.resolve_training(cfg, model)
