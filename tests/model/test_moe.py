"""Experts against a loop over tokens and experts in float64, and the properties that hold for every routing."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.common.errors import UserError
from lm.model import cache, cost, decoder, grouped
from lm.model.config import ModelConfig, Moe
from lm.model.decoder import Decoder, Output
from lm.model.moe import MoE, capacity
from lm.model.roles import initialise, logical_axes
from tests.model import architectures

CFG = ModelConfig(61, 3, 4, 2, 16, 24, 4, 32, moe=Moe(n_experts=8))
VARIANTS: dict[str, dict[str, Any]] = {
    "mixtral": {"moe": Moe(8)},
    "olmoe": {"moe": Moe(8, top_k=3, normalise=False, d_ff=10)},
    "switch": {"moe": Moe(4, top_k=1, normalise=False), "mlp": "gelu"},
    "qwen2-moe": {"moe": Moe(8, top_k=4, normalise=False, shared_d_ff=12, shared_gate=True)},
    "deepseek-v2": {"moe": Moe(8, normalise=False, n_groups=4, top_groups=2, weight_scale=2.5, shared_d_ff=12)},
    "deepseek-v3": {"moe": Moe(8, score="sigmoid", n_groups=4, top_groups=2, group_score="top2", balance="bias")},
    "gpt-oss": {"moe": Moe(8, router_bias=True), "mlp": "swiglu_clamped", "mlp_bias": True},
    "biases": {"moe": Moe(8, shared_d_ff=12), "mlp": "relu2", "mlp_bias": True},
    "capacity": {"moe": Moe(8, capacity_factor=0.75)},
    "capacity, sigmoid": {"moe": Moe(8, capacity_factor=0.5, score="sigmoid", weight_scale=0.5), "mlp_bias": True},
}


def variant(name: str) -> ModelConfig:
    return replace(CFG, **VARIANTS[name])


def layer_of(cfg: ModelConfig, b: int = 3, t: int = 13) -> tuple[MoE, dict, jax.Array, jax.Array]:
    """One layer of experts with parameters away from their start, and rows with two documents and padding."""
    x_BTD = jax.random.normal(jax.random.key(0), (b, t, cfg.d_model))
    segments_BT = jnp.asarray([[0, 0] + [1] * 5 + [2] * (t - 7)] + [[1] * t] * (b - 1), jnp.int32)
    module = MoE(cfg, cfg.layers[-1])
    params = architectures.parameters(replace(cfg, n_layers=1))["layers"]["block_0"]["moe"]
    return module, jax.tree.map(lambda a: a[-1], params), x_BTD, segments_BT


ACTIVATIONS = {
    "swiglu": lambda gate, up: gate / (1 + np.exp(-gate)) * up,
    "swiglu_clamped": lambda gate, up: (
        min(gate, 7.0) / (1 + np.exp(-1.702 * min(gate, 7.0))) * (np.clip(up, -7.0, 7.0) + 1)
    ),
    "gelu": lambda up: up * (1 + math.erf(up / math.sqrt(2))) / 2,
    "relu2": lambda up: max(up, 0.0) ** 2,
}


def mlp_oracle(kind: str, x_D: np.ndarray, maps: list[tuple[np.ndarray, Any]], down: tuple[np.ndarray, Any]) -> Any:
    into = [x_D @ kernel + bias for kernel, bias in maps]
    hidden = np.array([ACTIVATIONS[kind](*(float(a[i]) for a in into)) for i in range(len(into[0]))])
    return hidden @ down[0] + down[1]


def choose_oracle(ranks: np.ndarray, moe: Moe) -> list[int]:
    """The best `top_k` experts by plain sorting, of the best groups where there are any."""
    size = len(ranks) // moe.n_groups
    groups = [list(range(g * size, (g + 1) * size)) for g in range(moe.n_groups)]

    def worth(group: list[int]) -> float:
        best = sorted((float(ranks[e]) for e in group), reverse=True)
        return best[0] if moe.group_score == "max" else best[0] + best[1]

    if moe.n_groups > 1:
        groups = sorted(groups, key=worth, reverse=True)[: moe.top_groups]
    return sorted((e for group in groups for e in group), key=lambda e: (-ranks[e], e))[: moe.top_k]


def oracle(cfg: ModelConfig, params: dict, x_BTD: np.ndarray, segments_BT: np.ndarray) -> tuple[np.ndarray, dict]:
    """One token and one of its experts at a time; what is dropped is dropped in the order of the row."""
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    moe, kind, n = cfg.moe, cfg.layers[-1].mlp, cfg.layers[-1].n_experts
    gated = "expert_gate" in p

    def maps(tree: dict, prefix: str, e: int | None) -> tuple[list, tuple]:
        def pick(name: str) -> tuple[np.ndarray, Any]:
            entry = tree[f"{prefix}{name}"]
            kernel, bias = entry["kernel"], entry.get("bias")
            return (
                (kernel, 0.0 if bias is None else bias) if e is None else (kernel[e], 0.0 if bias is None else bias[e])
            )

        return [pick(name) for name in (("gate", "up") if gated else ("up",))], pick("down")

    y, load, dropped, z, balance = np.zeros(x_BTD.shape), np.zeros(n), 0, 0.0, 0.0
    for row in range(len(x_BTD)):
        taken, counts, mass, tokens = np.zeros(n), np.zeros(n), np.zeros(n), 0
        for i in range(x_BTD.shape[1]):
            x_D = np.asarray(x_BTD[row, i], np.float64)
            if moe.shared_d_ff:
                shared = mlp_oracle(kind, x_D, *maps(p["shared"], "", None))
                gate = 1 / (1 + np.exp(-x_D @ p["shared_gate"]["kernel"][:, 0])) if moe.shared_gate else 1.0
                y[row, i] += gate * shared
            if segments_BT[row, i] == 0:
                continue
            logits = x_D @ p["router"]["kernel"] + p["router"].get("bias", 0.0)
            scores = np.exp(logits) / np.exp(logits).sum() if moe.score == "softmax" else 1 / (1 + np.exp(-logits))
            chosen = choose_oracle(scores + p["router"].get("balance", 0.0), moe)
            total = sum(scores[e] for e in chosen) if moe.normalise else 1.0
            for e in chosen:
                counts[e] += 1
                if moe.capacity_factor and taken[e] == math.ceil(moe.capacity_factor * moe.top_k * x_BTD.shape[1] / n):
                    dropped += 1
                    continue
                taken[e] += 1
                y[row, i] += moe.weight_scale * scores[e] / total * mlp_oracle(kind, x_D, *maps(p, "expert_", e))
            mass, tokens, z = mass + scores / scores.sum(), tokens + 1, z + np.log(np.exp(logits).sum()) ** 2
        load += counts
        balance += n / moe.top_k * (counts / tokens) @ (mass / tokens) * tokens
    return y, {"load": load, "dropped": dropped, "z": z, "balance": balance}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_routing_matches_its_oracle(name: str) -> None:
    cfg = variant(name)
    module, params, x_BTD, segments_BT = layer_of(cfg)
    y_BTD, aux = jax.jit(module.apply)({"params": params}, x_BTD, segments_BT)
    wanted, reported = oracle(cfg, params, np.asarray(x_BTD), np.asarray(segments_BT))
    np.testing.assert_allclose(y_BTD, wanted, atol=3e-6)
    for key, value in aux.items():
        np.testing.assert_allclose(value, reported[key], rtol=1e-5, err_msg=key)
    assert ("dropped" in aux) == bool(cfg.moe.capacity_factor)
    assert reported["dropped"] > 0 or not cfg.moe.capacity_factor


@pytest.mark.parametrize("name", ["gpt-oss", "capacity"])
def test_gradients_are_those_of_differences(name: str) -> None:
    """Of output, balance loss and z-loss, along random directions of parameters and input."""
    cfg = variant(name)
    module, params, x_BTD, segments_BT = layer_of(cfg)
    weight_BTD = jax.random.normal(jax.random.key(1), x_BTD.shape)

    @jax.jit
    def loss(at: tuple[dict, jax.Array]) -> jax.Array:
        y_BTD, aux = module.apply({"params": at[0]}, at[1], segments_BT)
        return jnp.sum(weight_BTD * y_BTD) + 0.1 * aux["balance"] + 0.1 * aux["z"]

    at = (params, x_BTD)
    leaves, structure = jax.tree.flatten(at)
    gradient = jax.grad(loss)(at)
    assert all(np.all(np.isfinite(g)) for g in jax.tree.leaves(gradient))
    for seed in range(3):
        keys = jax.random.split(jax.random.key(seed), len(leaves))
        way = structure.unflatten([jax.random.normal(k, a.shape) for k, a in zip(keys, leaves, strict=True)])
        step = 1e-4
        ahead, behind = (loss(jax.tree.map(lambda a, w, s=s: a + s * w, at, way)) for s in (step, -step))
        slope = sum(jnp.vdot(g, w) for g, w in zip(jax.tree.leaves(gradient), jax.tree.leaves(way), strict=True))
        np.testing.assert_allclose((ahead - behind) / (2 * step), slope, rtol=0.02, atol=0.05)


@pytest.mark.parametrize(("rows", "n"), [(1, 4), (7, 3), (300, 5), (512, 64), (64, 1)])
def test_grouped_products_are_those_of_each_row(rows: int, n: int) -> None:
    """Values and gradients, with matrices that no row has and rows that have none; every row in a place of its own."""
    rng = np.random.default_rng(rows)
    matrix_R = jnp.asarray(np.minimum(rng.integers(0, n + 1, rows), rng.integers(0, n + 1, rows)))
    x_RI, kernels_EIO = jnp.asarray(rng.normal(size=(rows, 6))), jnp.asarray(rng.normal(size=(n, 6, 5)))
    weight_RO = jnp.asarray(rng.normal(size=(rows, 5)))

    def tiled(x_RI: jax.Array, kernels_EIO: jax.Array) -> jax.Array:
        tiles = grouped.tiles(matrix_R, n)
        return tiles.collect(grouped.product(tiles.lay_out(x_RI), kernels_EIO, tiles.matrix_G, tiles.used))

    def each(x_RI: jax.Array, kernels_EIO: jax.Array) -> jax.Array:
        padded_EIO = jnp.concatenate([kernels_EIO, jnp.zeros((1, 6, 5))])
        return jnp.einsum("ri,rio->ro", x_RI, padded_EIO[matrix_R])

    ours, theirs = (
        jax.jit(jax.value_and_grad(lambda *a, f=f: jnp.sum(weight_RO * f(*a)), argnums=(0, 1)))(x_RI, kernels_EIO)
        for f in (tiled, each)
    )
    np.testing.assert_allclose(tiled(x_RI, kernels_EIO), each(x_RI, kernels_EIO), atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), ours, theirs)
    places = np.asarray(grouped.tiles(matrix_R, n).place_R)[np.asarray(matrix_R) < n]
    assert len(set(places)) == len(places)


@partial(jax.jit, static_argnums=0)
def logits(cfg: ModelConfig, params: dict, *args: jax.Array, **kwargs: Any) -> jax.Array:
    return Decoder(cfg).apply({"params": params}, *args, **kwargs).logits_BTV


def tokens(shape: tuple[int, ...], seed: int = 1) -> jax.Array:
    return jax.random.randint(jax.random.key(seed), shape, 0, CFG.vocab_size)


@partial(jax.jit, static_argnums=0)
def read(cfg: ModelConfig, params: dict, x_BT: jax.Array, positions_BT: jax.Array, state: cache.Cache) -> Output:
    return Decoder(cfg).apply({"params": params}, x_BT, positions_BT=positions_BT, cache=state)


@pytest.mark.parametrize("name", ["qwen2-moe", "deepseek-v3"])
def test_dropless_rows_know_nothing_of_their_batch(name: str) -> None:
    """Cached equals full, packed equals unpacked, a row in a batch equals the row alone, padding is unseen."""
    cfg = replace(variant(name), n_layers=1)
    params = architectures.parameters(cfg)
    x_BT = tokens((3, 11))
    full_BTV = logits(cfg, params, x_BT)
    close = partial(np.testing.assert_allclose, rtol=0, atol=2e-5 * float(jnp.abs(full_BTV).max()))
    close(jnp.concatenate([logits(cfg, params, x_BT[row : row + 1]) for row in range(3)]), full_BTV)
    state, parts = cache.empty(cfg, 3, 12), []
    for start, stop in ((0, 10), (10, 11)):
        positions_BT = jnp.broadcast_to(jnp.arange(start, stop), (3, stop - start))
        output = read(cfg, params, x_BT[:, start:stop], positions_BT, state)
        state = output.cache
        parts.append(output.logits_BTV)
    close(jnp.concatenate(parts, axis=1), full_BTV)
    segments_BT = jnp.asarray([[0] * 3 + [1] * 11 + [2] * 11])
    positions_BT = jnp.asarray([[0] * 3 + [*range(11)] * 2])
    packed_BT = jnp.concatenate([jnp.zeros((1, 3), jnp.int32), x_BT[:1], x_BT[1:2]], axis=1)
    packed_BTV = logits(cfg, params, packed_BT, segments_BT, positions_BT)
    assert np.all(np.isfinite(packed_BTV))
    close(packed_BTV[0, 3:], full_BTV[:2].reshape(22, -1))


def test_a_capacity_drops_later_tokens_first_and_padding_takes_none() -> None:
    """All tokens alike want the same experts: the first few of each row get them, whatever stands elsewhere."""
    cfg = replace(CFG, moe=Moe(8, capacity_factor=1.0))
    module, params, _, _ = layer_of(cfg)
    x_BTD = jnp.broadcast_to(jax.random.normal(jax.random.key(3), (16,)), (2, 12, 16))
    segments_BT = jnp.asarray([[0] * 4 + [1] * 8, [1] * 12])
    y_BTD, aux = jax.jit(module.apply)({"params": params}, x_BTD, segments_BT)
    size = capacity(cfg, 8, 12)
    assert size == 3
    served = np.abs(y_BTD).max(axis=-1) > 0
    assert served.tolist() == [[False] * 4 + [True] * 3 + [False] * 5, [True] * 3 + [False] * 9]
    assert aux["dropped"] == 2 * (5 + 9)
    assert aux["load"].sum() == 2 * (8 + 12)


def test_even_routing_has_a_balance_loss_of_one_and_any_other_more() -> None:
    """E/K Σ f P: 1 where scores are even, at most E/K where all go to the same."""
    cfg = replace(CFG, moe=Moe(8, top_k=2))
    module, params, x_BTD, segments_BT = layer_of(cfg)
    n, apply = int((segments_BT != 0).sum()), jax.jit(module.apply)

    def balance(kernel_DE: jax.Array, x_BTD: jax.Array = x_BTD) -> float:
        changed = {**params, "router": {"kernel": kernel_DE}}
        return float(apply({"params": changed}, x_BTD, segments_BT)[1]["balance"]) / n

    assert balance(jnp.zeros((16, 8))) == pytest.approx(1.0)
    collapsed = jnp.zeros((16, 8)).at[:, 0].set(100.0)
    assert balance(collapsed, jnp.ones_like(x_BTD)) == pytest.approx(4.0)  # 8/2 · (share 1 · score 1)
    assert all(balance(jax.random.normal(jax.random.key(seed), (16, 8))) > 1.0 for seed in range(5))


def test_padding_counts_for_nothing() -> None:
    """What stands in padding changes neither losses nor loads, and one row's padding none of another's."""
    module, params, x_BTD, segments_BT = layer_of(CFG)
    _, aux = module.apply({"params": params}, x_BTD, segments_BT)
    _, other = module.apply({"params": params}, x_BTD.at[0, :2].set(7.0), segments_BT)
    jax.tree.map(np.testing.assert_array_equal, aux, other)
    assert aux["load"].sum() == 2 * (3 * 13 - 2)


def test_the_router_is_float32_whatever_the_model() -> None:
    """In bfloat16 a token's experts are those of its input in float32; loads are the same where the input is."""
    module, params, x_BTD, segments_BT = layer_of(CFG)
    rounded_BTD = x_BTD.astype(jnp.bfloat16)
    low = MoE(replace(CFG, dtype="bfloat16"), CFG.layers[-1])
    y_BTD, aux = low.apply({"params": params}, rounded_BTD, segments_BT)
    wanted_BTD, wanted = module.apply({"params": params}, rounded_BTD.astype(jnp.float32), segments_BT)
    assert y_BTD.dtype == jnp.bfloat16
    jax.tree.map(np.testing.assert_array_equal, aux, wanted)
    np.testing.assert_allclose(y_BTD.astype(jnp.float32), wanted_BTD, atol=0.1)


def test_leading_layers_stay_dense_and_a_pattern_alternates() -> None:
    cfg = replace(CFG, n_layers=6, moe=Moe(n_experts=(0, 8), first_dense=2))
    assert [layer.n_experts for layer in cfg.layers] == [0, 0, 0, 8, 0, 8]
    assert [stack.name for stack in cfg.stacks] == ["lead_0", "lead_1", "block_0", "block_1"]
    layers = cost.parameter_shapes(cfg)["layers"]
    assert ["moe" in layers[name] for name in ("lead_0", "lead_1", "block_0", "block_1")] == [False, False, False, True]
    output = jax.jit(Decoder(cfg).apply)({"params": architectures.parameters(cfg)}, tokens((1, 5)))
    assert set(output.aux) == {"block_1"}
    assert output.aux["block_1"]["load"].shape == (2, 8)
    assert np.all(np.isfinite(output.logits_BTV))


def test_scanned_and_recomputed_equal_unrolled() -> None:
    cfg = replace(CFG, n_layers=3, moe=Moe(8, first_dense=1))
    params, x_BT = architectures.parameters(cfg), tokens((2, 9))

    def loss(params: dict, cfg: ModelConfig) -> jax.Array:
        output = Decoder(cfg).apply({"params": params}, x_BT)
        return jnp.mean(jnp.square(output.logits_BTV)) + jnp.sum(output.aux["block_0"]["balance"])

    plain, other = (
        jax.jit(jax.value_and_grad(loss), static_argnums=1)(params, replace(cfg, **change))
        for change in ({}, {"scan_layers": False, "remat": "block"})
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), plain, other)


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "n_experts": ({}, {"n_experts": 4}),
    "top_k": ({}, {"top_k": 3}),
    "d_ff": ({}, {"d_ff": 12}),
    "shared_d_ff": ({}, {"shared_d_ff": 12}),
    "shared_gate": ({"shared_d_ff": 12}, {"shared_d_ff": 12, "shared_gate": True}),
    "first_dense": ({}, {"first_dense": 1}),
    "score": ({}, {"score": "sigmoid"}),
    "normalise": ({}, {"normalise": False}),
    "weight_scale": ({}, {"weight_scale": 2.0}),
    "n_groups": ({}, {"n_groups": 4}),
    "top_groups": ({"n_groups": 4}, {"n_groups": 4, "top_groups": 2}),
    "group_score": ({"n_groups": 4, "top_groups": 2}, {"n_groups": 4, "top_groups": 2, "group_score": "top2"}),
    "router_bias": ({}, {"router_bias": True}),
    "capacity_factor": ({}, {"capacity_factor": 0.5}),
    "balance": ({}, {"balance": "bias"}),
}


@pytest.mark.parametrize("key", CHANGES)
def test_every_key_changes_what_is_computed(key: str) -> None:
    """The keys of the losses are tried in tests/train/test_routing.py."""
    if key == "first_dense":  # whose layer would have no experts at all
        assert replace(CFG, moe=Moe(8, first_dense=1)).layers != CFG.layers
        return
    cfgs = [replace(CFG, n_layers=1, moe=Moe(**{"n_experts": 8, **keys})) for keys in CHANGES[key]]
    outputs = []
    for cfg in cfgs:
        module, params, x_BTD, segments_BT = layer_of(cfg)
        outputs.append(module.apply({"params": params}, x_BTD, segments_BT)[0])
    assert float(jnp.abs(outputs[0] - outputs[1]).max()) > 1e-3


def test_all_keys_are_tried() -> None:
    assert set(Moe.__dataclass_fields__) == {*CHANGES, "balance_weight", "balance_rate", "z_weight"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"n_experts": 0, "top_k": 3}, "model.moe.top_k=3: would change nothing, as no layer has both an MLP and"),
        ({"top_k": 9}, "model.moe.top_k=9: must be at least 1 and at most model.moe.n_experts=8"),
        ({"top_k": 0}, "model.moe.top_k=0: must be at least 1"),
        ({"top_k": 1}, "model.moe.top_k=1: with model.moe.normalise=True its weight is 1"),
        ({"n_groups": 3}, "model.moe.n_groups=3: must divide model.moe.n_experts=8"),
        ({"n_groups": 4, "top_groups": 4}, "model.moe.top_groups=4: must be at least 1 and below 4"),
        ({"n_groups": 4, "top_k": 3}, "model.moe.top_k=3: the 1 chosen groups have fewer experts"),
        ({"n_groups": 8, "top_groups": 2, "group_score": "top2"}, "model.moe.group_score=top2: 8 groups"),
        ({"top_groups": 2}, "model.moe.top_groups=2: would change nothing, as model.moe.n_groups is 1"),
        ({"shared_gate": True}, "model.moe.shared_gate=True: would change nothing, as model.moe.shared_d_ff=0"),
        ({"balance_rate": 0.1}, "model.moe.balance_rate=0.1: would change nothing, as model.moe.balance is not bias"),
        ({"balance": "none", "balance_weight": 0.1}, "model.moe.balance_weight=0.1: would change nothing"),
        ({"first_dense": 3}, "model.moe.first_dense=3: leaves none of 3 layers to the experts"),
        ({"capacity_factor": -1.0}, "model.moe.capacity_factor=-1.0: must not be negative"),
        ({"score": "tanh"}, "model.moe.score=tanh: choose one of softmax, sigmoid"),
    ],
)
def test_refusals(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        replace(CFG, moe=Moe(**{"n_experts": 8, **keys}))
    assert str(error.value).startswith(message)


def test_experts_start_like_the_mlp_they_replace() -> None:
    """Each matrix with the spread of its own fan-in, and drawn apart from the others."""
    cfg = replace(CFG, d_model=64, d_ff=256)
    kernel_EIO = initialise("expert_up.kernel", (8, 64, 256), cfg, jax.random.key(0))
    np.testing.assert_allclose(kernel_EIO.std(axis=(1, 2)), 1 / 8, rtol=0.05)
    down_EIO = initialise("expert_down.kernel", (8, 256, 64), cfg, jax.random.key(0))
    np.testing.assert_allclose(down_EIO.std(axis=(1, 2)), 1 / 16 / math.sqrt(2 * cfg.n_layers), rtol=0.05)
    assert np.abs(kernel_EIO[0] - kernel_EIO[1]).max() > 0.1
    axes = logical_axes(cost.parameter_shapes(replace(CFG, mlp_bias=True)))["layers"]["block_0"]["moe"]
    assert axes["expert_up"]["kernel"] == ("layers", "expert", "embed", "mlp")
    assert axes["expert_up"]["bias"] == ("layers", "expert", "mlp")
    assert axes["expert_down"]["bias"] == ("layers", "expert", "embed")


def test_costs_count_the_experts_in_use() -> None:
    """Two of eight experts and the router: what a dense model of twice the width costs, and a router's product more."""
    dense, moe = replace(CFG, moe=Moe(), d_ff=48), replace(CFG, moe=Moe(8))
    router = 3 * 16 * 8
    assert cost.n_active_params(moe) == cost.n_active_params(dense) + router
    assert cost.n_params(moe) == cost.n_params(dense) + router + 3 * (8 - 2) * 3 * 16 * 24
    assert cost.forward_flops(moe, 10) == cost.forward_flops(dense, 10) + 2 * router
    assert cost.n_active_params(dense) == cost.n_params(dense)


def test_initial_parameters_train() -> None:
    """At the start too, all parameters but unused experts have a gradient."""
    cfg = replace(CFG, n_layers=1)
    params = jax.jit(decoder.init, static_argnums=0)(cfg, jax.random.key(0))
    x_BT = tokens((4, 32))

    @jax.jit
    def loss(params: dict) -> jax.Array:
        return jnp.mean(nn.log_softmax(logits(cfg, params, x_BT))[..., 0])

    for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(params)):
        assert np.all(np.isfinite(leaf))
        assert np.abs(leaf).max() > 0
