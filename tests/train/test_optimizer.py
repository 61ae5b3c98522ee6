"""AdamW and Muon against other people's code and against singular values."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lm.common.errors import UserError
from lm.model import decoder
from lm.model.config import ModelConfig
from lm.model.roles import path_names, role_of
from lm.train.defaults import pretrain
from lm.train.optimizer import MUON_RMS, Optimizer, clip, global_norm, orthogonalise
from lm.train.schedule import cosine


@pytest.fixture
def params(model_config: ModelConfig) -> dict:
    return jax.jit(decoder.init, static_argnums=0)(model_config, jax.random.key(0))


def make(name: str) -> Optimizer:
    cfg = pretrain().optimizer
    cfg.name, cfg.peak_lr = name, 0.01
    return Optimizer.from_config(cfg, cosine(20, 2, 0.1))


def random_like(tree: dict, seed: int) -> dict:
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return jax.tree.unflatten(structure, [jax.random.normal(k, a.shape) for k, a in zip(keys, leaves, strict=True)])


def decays(params: dict) -> dict:
    return jax.tree_util.tree_map_with_path(lambda path, _: role_of(path_names(path)).decay, params)


def test_adamw_equals_optax(params: dict) -> None:
    """Three steps, with decay on matrices only and the schedule, agree with optax's AdamW."""
    ours = make("adamw")
    theirs = optax.adamw(ours.learning_rate, 0.9, 0.95, 1e-8, weight_decay=0.1, mask=decays(params))
    a, a_state, b, b_state = params, ours.init(params), params, theirs.init(params)
    update = jax.jit(ours.update)
    for seed in range(3):
        grads = random_like(params, seed)
        a, a_state = update(grads, a_state, a)
        updates, b_state = theirs.update(grads, b_state, b)
        b = optax.apply_updates(b, updates)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), a, b)


def test_norms_do_not_decay_and_matrices_do(params: dict) -> None:
    ours = make("adamw")
    zero = jax.tree.map(jnp.zeros_like, params)
    new, _ = jax.jit(ours.update)(zero, ours.init(params), params)
    for (path, before), after in zip(jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(new), strict=True):
        shrink = 1 - float(ours.learning_rate(0)) * (0.0 if "norm" in path_names(path)[-2] else 0.1)
        np.testing.assert_allclose(after, before * shrink, rtol=1e-5)


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 4, 16), (1, 24, 5)])
def test_orthogonalise_makes_singular_values_near_one(shape: tuple[int, ...]) -> None:
    """And keeps the singular vectors: U Vᵀ of the exact decomposition is close."""
    x_LIO = jax.random.normal(jax.random.key(0), shape)
    out_LIO = orthogonalise(x_LIO)
    singular = np.linalg.svd(np.asarray(out_LIO), compute_uv=False)
    assert singular.min() > 0.6
    assert singular.max() < 1.25
    u, _, vt = np.linalg.svd(np.asarray(x_LIO), full_matrices=False)
    alignment = np.sum(np.asarray(out_LIO) * (u @ vt)) / min(shape[1:]) / shape[0]
    assert alignment > 0.8


def test_muon_moves_hidden_matrices_only(params: dict) -> None:
    """Hidden matrices move with Muon's fixed root mean square, layer by layer; all else moves as with AdamW."""
    muon, adamw = make("muon"), make("adamw")
    muon, adamw = muon._replace(weight_decay=0.0), adamw._replace(weight_decay=0.0)
    grads = random_like(params, 0)
    a, state = jax.jit(muon.update)(grads, muon.init(params), params)
    b, _ = jax.jit(adamw.update)(grads, adamw.init(params), params)
    lr = float(muon.learning_rate(0))
    for (path, before), x, y, nu in zip(
        jax.tree_util.tree_leaves_with_path(params), *map(jax.tree.leaves, (a, b, state.nu)), strict=True
    ):
        names = path_names(path)
        if role_of(names).group != "matrix":
            np.testing.assert_array_equal(x, y, err_msg="/".join(names))
            continue
        assert nu.shape == ()
        rms = np.sqrt(np.mean(np.square((x - before) / lr), axis=tuple(range(1, x.ndim))))
        assert np.all(rms > 0.7 * MUON_RMS)
        assert np.all(rms < 1.2 * MUON_RMS)


def test_muon_moves_matrices_that_stand_side_by_side_each_on_its_own() -> None:
    """The blocks of a gate, in every layer, as if each were a gate of one block."""
    ours = make("muon")
    gates = {"kernel": jax.random.normal(jax.random.key(0), (2, 3, 4, 4))}
    params = {"layers": {"block_0": {"mixer": {"input_gate": gates}}}}
    alone = jax.tree.map(lambda a: a.reshape(6, 1, 4, 4), params)
    update = jax.jit(lambda p: ours.update(jax.tree.map(jnp.sin, p), ours.init(p), p)[0])
    together, apart = (jax.tree.leaves(update(p))[0] for p in (params, alone))
    np.testing.assert_allclose(together, apart.reshape(2, 3, 4, 4), atol=1e-6)
    assert np.abs(together - gates["kernel"]).max() > 1e-5


def test_clipping_scales_down_to_the_limit_and_never_up() -> None:
    grads = {"a": jnp.asarray([3.0, 0.0]), "b": jnp.asarray([[4.0]])}
    norm = global_norm(grads)
    assert norm == 5.0
    np.testing.assert_allclose(global_norm(clip(grads, norm, 1.0)), 1.0, rtol=1e-6)
    np.testing.assert_allclose(global_norm(clip(grads, norm, 10.0)), 5.0, rtol=1e-6)


def test_unknown_optimizer_is_refused() -> None:
    with pytest.raises(UserError, match=r"optimizer.name=sgd: choose adamw or muon"):
        make("sgd")


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_first_moment_in_bfloat16_moves_parameters_nearly_the_same(params: dict, name: str) -> None:
    """To its eight bits, after three steps; and it is kept in two bytes, the second moment in four."""
    full = make(name)
    short = full._replace(moment_dtype="bfloat16")
    ends = []
    for optimizer in (full, short):
        moved, state = params, optimizer.init(params)
        for step in range(3):
            moved, state = jax.jit(optimizer.update)(random_like(params, step), state, moved)
        ends.append((moved, state))
    assert {leaf.dtype for leaf in jax.tree.leaves(ends[1][1].mu)} == {jnp.dtype("bfloat16")}
    assert {leaf.dtype for leaf in jax.tree.leaves(ends[1][1].nu)} == {jnp.dtype("float32")}
    far, apart = (
        global_norm(jax.tree.map(jnp.subtract, ends[i][0], other)) for i, other in ((0, params), (1, ends[0][0]))
    )
    assert 0 < float(apart) < 0.02 * float(far)


def test_a_dtype_that_moments_are_not_kept_in_is_refused() -> None:
    cfg = pretrain().optimizer
    cfg.peak_lr, cfg.moment_dtype = 0.1, "int8"
    with pytest.raises(UserError, match=r"optimizer\.moment_dtype=int8: choose one of float32, bfloat16"):
        Optimizer.from_config(cfg, cosine(20, 2, 0.1))
