"""What must hold of every architecture, on random ones from the whole config space.

The few seeds of `FEW` use every choice of every key between them, the first of them, `QUICK`, every choice of the kinds
of mixer, norm, position, routing and the like; the others, and many more, are slow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache, partial
from itertools import islice
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.common.errors import UserError
from lm.common.mesh import AXES, make_mesh
from lm.convert import flat
from lm.model import cache as caches
from lm.model import decoder
from lm.model.config import EXECUTION, ModelConfig
from lm.model.decoder import Decoder
from lm.model.roles import is_stacked, named, path_names, role_of
from lm.train.defaults import pretrain
from lm.train.optimizer import Optimizer
from lm.train.schedule import cosine
from lm.train.state import init_state
from lm.train.step import loss_sums, make_step

from . import architectures
from .architectures import KINDS, SEEDS, choices, covering, draw, parameters

QUICK = covering(SEEDS, KINDS)
FEW = covering(SEEDS, choices(), QUICK)
MANY = [seed for seed in range(64) if seed not in FEW]
ELSEWHERE = ("max_seq_len",)  # says how long the data's sequences are; learned positions alone depend on it here
TRAINING = ("moe.balance_weight", "moe.balance_rate", "moe.z_weight")  # say how parameters move
B, T = 3, 12
TOLERANCE = 3e-5  # of the largest logit

jit = partial(jax.jit, static_argnums=0)


class Case(NamedTuple):
    """An architecture and parameters at which every part of it matters."""

    cfg: ModelConfig
    params: Any


@cache
def made(seed: int) -> Case:
    cfg = draw(seed)
    return Case(cfg, parameters(cfg))


def dropless(case: Case) -> Case:
    """Lets experts take every token: how many they take otherwise depends on the length of what is read at once."""
    return case._replace(cfg=dataclasses.replace(case.cfg, moe=dataclasses.replace(case.cfg.moe, capacity_factor=0.0)))


def quick_and_slow(quick: list[int], slow: list[int]) -> list[Any]:
    return [*quick, *(pytest.param(seed, marks=pytest.mark.slow) for seed in slow)]


@pytest.fixture(scope="module", params=quick_and_slow(QUICK, FEW[len(QUICK) :] + MANY))
def case(request: pytest.FixtureRequest) -> Case:
    return made(request.param)


@pytest.fixture(scope="module", params=quick_and_slow(QUICK[:4], [*QUICK[4:], *FEW[len(QUICK) :], *MANY]))
def differentiated(request: pytest.FixtureRequest) -> Case:
    """As `case`, for what compiles a gradient, which takes longer than all else together."""
    return made(request.param)


def tokens(cfg: ModelConfig, seed: int = 1) -> jax.Array:
    """Returns rows of tokens that are all different within a row, `[B, T]`."""
    rng = np.random.default_rng(seed)
    return jnp.asarray([rng.permutation(cfg.vocab_size)[:T] for _ in range(B)])


@jit
def logits(
    cfg: ModelConfig, params: Any, x_BT: jax.Array, segments_BT: jax.Array, positions_BT: jax.Array
) -> jax.Array:
    return Decoder(cfg).apply({"params": params}, x_BT, segments_BT, positions_BT).logits_BTV


ONE_DOCUMENT = (jnp.ones((B, T), jnp.int32), jnp.broadcast_to(jnp.arange(T), (B, T)))


@jit
def read(cfg: ModelConfig, params: Any, x_BT: jax.Array, positions_BT: jax.Array, state: caches.Cache) -> Any:
    return Decoder(cfg).apply({"params": params}, x_BT, positions_BT=positions_BT, cache=state)


@jit
def gradient(cfg: ModelConfig, params: Any, batch: dict[str, jax.Array], seen_BTD: jax.Array) -> Any:
    """Returns the gradient of the losses plus the last hidden state times `seen_BTD`."""

    def objective(params: Any) -> jax.Array:
        hidden = Decoder(cfg).apply(
            {"params": params}, batch["tokens"], batch["segments"], batch["positions"], method="hidden"
        )
        sums = loss_sums(cfg, params, batch, None)
        return sums.nats + sums.ahead + jnp.sum(hidden.h_BTD * seen_BTD)

    return jax.grad(objective)(params)


def batch_of(cfg: ModelConfig, counted: float) -> dict[str, jax.Array]:
    x_BT = tokens(cfg)
    places = dict(zip(("segments", "positions"), ONE_DOCUMENT, strict=True))
    mask_BT = jnp.full(x_BT.shape, counted, jnp.float32)
    return {"tokens": x_BT, "targets": (x_BT + 1) % cfg.vocab_size, **places, "loss_mask": mask_BT}


def assert_close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * max(1.0, np.abs(expected).max()))


def test_numbers_are_finite_and_of_order_one(case: Case) -> None:
    """Else what follows would hold, or fail, for want of digits."""
    out_BTV = logits(case.cfg, case.params, tokens(case.cfg), *ONE_DOCUMENT)
    assert np.all(np.isfinite(out_BTV))
    assert 0.05 < np.std(out_BTV) < 100


def test_scanned_is_unrolled(case: Case) -> None:
    other = dataclasses.replace(case.cfg, scan_layers=not case.cfg.scan_layers)
    arguments = (case.params, tokens(case.cfg), *ONE_DOCUMENT)
    assert_close(logits(other, *arguments), logits(case.cfg, *arguments))


def test_no_position_sees_the_future(differentiated: Case) -> None:
    """d hidden[t] / d embedding[s] is exactly zero for s > t, and not zero for s = t and the one before."""
    cfg, params = differentiated
    x_BT, batch = tokens(cfg), batch_of(cfg, 0.0)
    for t in range(0, T, 3):
        seen_BTD = jnp.zeros((B, T, cfg.d_model)).at[0, t].set(jnp.arange(1, cfg.d_model + 1) / 7)
        table_VD = gradient(cfg, params, batch, seen_BTD)["embed"]["table"]
        influence_T = jnp.abs(table_VD[x_BT[0]]).sum(axis=-1)
        assert np.all(influence_T[t + 1 :] == 0)
        assert np.all(influence_T[max(0, t - 1) : t + 1] > 0)


def test_gradients_are_finite_and_reach_every_parameter(differentiated: Case) -> None:
    """Of every layer, but for what is no descent's to move."""
    cfg, params = differentiated
    grads = gradient(cfg, params, batch_of(cfg, 1.0), jnp.zeros((B, T, cfg.d_model)))
    for name, tensor in flat.flatten(cfg, grads).items():
        assert np.all(np.isfinite(tensor)), name
        assert np.any(tensor != 0) or named(".".join(name.split(".")[-2:])).group == "balance", name


def optimizer_of(name: str) -> Optimizer:
    keys = pretrain().optimizer
    keys.name, keys.peak_lr, keys.weight_decay = name, 0.1, 0.0
    return Optimizer.from_config(keys, cosine(3, 1, 0.1))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_changes_what_has_a_gradient(differentiated: Case, optimizer: str) -> None:
    """Every tensor of every layer, by either optimizer, weight decay aside."""
    cfg, params = differentiated
    rule = optimizer_of(optimizer)
    grads = gradient(cfg, params, batch_of(cfg, 1.0), jnp.zeros((B, T, cfg.d_model)))

    def update(_: str, params: Any, grads: Any) -> Any:
        return rule.update(grads, rule.init(params), params)[0]

    after = flat.flatten(cfg, jit(update)(optimizer, params, grads))
    before, grads = flat.flatten(cfg, params), flat.flatten(cfg, grads)
    for name, tensor in after.items():
        assert np.all(np.isfinite(tensor)), name
        assert np.any(tensor != before[name]) or np.abs(grads[name]).max() < 1e-5, name


def test_cached_equals_full(case: Case) -> None:
    """Reading half at once and half token by token through the cache gives the logits of reading at once."""
    cfg, params = dropless(case)
    x_BT, state, parts = tokens(cfg), caches.empty(cfg, B, T + 2), []
    for piece_T in np.split(np.arange(T), range(T // 2, T)):
        positions_BT = jnp.broadcast_to(jnp.asarray(piece_T), (B, len(piece_T)))
        output = read(cfg, params, x_BT[:, piece_T], positions_BT, state)
        state = output.cache
        parts.append(output.logits_BTV)
    assert_close(jnp.concatenate(parts, axis=1), logits(cfg, params, x_BT, *ONE_DOCUMENT))


def test_documents_of_a_row_do_not_see_each_other(case: Case) -> None:
    """Two documents packed into a row give what each gives at the start of a row."""
    cfg, params = dropless(case)
    x_BT, cut = tokens(cfg), 5
    packed = [jnp.where(jnp.arange(T) < cut, 1, 2), jnp.where(jnp.arange(T) < cut, jnp.arange(T), jnp.arange(T) - cut)]
    packed_BTV = logits(cfg, params, x_BT, *(jnp.broadcast_to(a_T, (B, T)) for a_T in packed))
    first_BTV = logits(cfg, params, x_BT, *ONE_DOCUMENT)[:, :cut]
    second_BTV = logits(cfg, params, jnp.roll(x_BT, -cut, axis=1), *ONE_DOCUMENT)[:, : T - cut]
    assert_close(packed_BTV, jnp.concatenate([first_BTV, second_BTV], axis=1))


def test_padding_changes_nothing(case: Case) -> None:
    """Padding to the left of a document (segment 0) gives finite numbers, and the rest as if it were not there."""
    cfg, params = dropless(case)
    x_BT, pad = tokens(cfg), 4
    segments_T = (jnp.arange(T) >= pad).astype(jnp.int32)
    positions_T = jnp.maximum(jnp.arange(T) - pad, 0)
    places = (jnp.broadcast_to(a_T, (B, T)) for a_T in (segments_T, positions_T))
    padded_BTV = logits(cfg, params, jnp.roll(x_BT, pad, axis=1), *places)
    assert np.all(np.isfinite(padded_BTV))
    assert_close(padded_BTV[:, pad:], logits(cfg, params, x_BT, *ONE_DOCUMENT)[:, : T - pad])


def test_a_row_does_not_depend_on_its_batch(case: Case) -> None:
    """Each row comes out the same beside other rows, and at another place among them."""
    x_BT, other_BT = tokens(case.cfg), tokens(case.cfg, seed=2)
    mixed_BT = jnp.stack([other_BT[0], x_BT[0], x_BT[2]])
    whole_BTV = logits(case.cfg, case.params, x_BT, *ONE_DOCUMENT)
    mixed_BTV = logits(case.cfg, case.params, mixed_BT, *ONE_DOCUMENT)
    assert_close(mixed_BTV[1:], whole_BTV[jnp.asarray([0, 2])])


def test_flat_names_keep_every_tensor(case: Case) -> None:
    tensors = flat.flatten(case.cfg, case.params)
    assert {name: a.shape for name, a in tensors.items()} == flat.shapes(case.cfg)
    jax.tree.map(np.testing.assert_array_equal, flat.unflatten(case.cfg, tensors), case.params)


@pytest.mark.parametrize("seed", [FEW[0], *(pytest.param(seed, marks=pytest.mark.slow) for seed in FEW[1:])])
def test_the_start_is_what_the_role_table_says(seed: int) -> None:
    """Drawn tensors have their role's mean and spread, to within what so many draws can tell; others their start."""
    cfg = draw(seed)
    params = jit(decoder.init)(cfg, jax.random.key(3))
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = path_names(path)
        role, own = role_of(names), leaf.shape[1:] if is_stacked(names) else leaf.shape
        if role.start is not None:
            assert np.all(np.isfinite(leaf)), names
            continue
        std = role.std(own, cfg)
        assert abs(float(leaf.mean())) < 5 * std / np.sqrt(leaf.size), names
        np.testing.assert_allclose(leaf.std(), std, rtol=5 / np.sqrt(2 * leaf.size), err_msg="/".join(names))


@jit
def dropped(cfg: ModelConfig, params: Any, x_BT: jax.Array) -> jax.Array:
    keys_B = jax.random.split(jax.random.key(0), B)
    return Decoder(cfg).apply({"params": params}, x_BT, dropout_keys_B=keys_B).logits_BTV


def pairs(key: str) -> Iterator[tuple[ModelConfig, ModelConfig]]:
    """Yields drawn architectures that differ in `key` alone, those first that have another value than its default.

    Where a key is of no use, its other values are refused.
    """
    default = choices()[key][0]
    for cfg in sorted(map(draw, SEEDS), key=lambda cfg: architectures.flat(cfg)[key] == default):
        values = architectures.flat(cfg)
        for value in choices()[key]:
            try:
                other = architectures.build(values | {key: value})
            except UserError:
                continue
            if other != cfg:
                yield cfg, other


@pytest.mark.slow
@pytest.mark.parametrize(
    "key", [key for key, some in choices().items() if len(some) > 1 and key not in (*ELSEWHERE, *TRAINING)]
)
def test_every_key_changes_something(key: str) -> None:
    """Another value changes the parameters' shapes or, at the same parameters, the logits; or neither, by its group."""
    for one, other in islice(pairs(key), 20):
        if flat.shapes(one) != flat.shapes(other):
            assert key not in EXECUTION
            return
        params, x_BT = parameters(one), tokens(one)
        differ = np.abs(dropped(one, params, x_BT) - dropped(other, params, x_BT)).max()
        if key in EXECUTION:
            assert differ < 1e-4
            return
        if differ > 1e-4:
            return
    raise AssertionError(f"model.{key} changes nothing")


@pytest.mark.slow
@pytest.mark.parametrize("key", TRAINING)
def test_every_key_of_training_changes_a_step(key: str) -> None:
    """Two steps from one state that differ in this key alone leave other parameters."""
    mesh, rule = make_mesh(dict.fromkeys(AXES, 1)), optimizer_of("adamw")
    left = []
    for cfg in next(pairs(key)):
        batch = batch_of(cfg, 1.0) | {"index": jnp.arange(B)}
        state, _ = make_step(cfg, rule, mesh, seed=0)(init_state(cfg, rule, mesh, seed=0), batch)
        left.append(flat.flatten(cfg, state.params))
    assert any(np.any(tensor != left[1][name]) for name, tensor in left[0].items())
