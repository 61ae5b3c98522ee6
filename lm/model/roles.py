"""What a parameter *is* decides its initialisation, decay, learning rate, optimiser and sharding: one table.

A parameter is known by the last two names of its path (`mixer/q/kernel` is a `q.kernel`). Initial standard
deviations: embeddings 0.02 (Radford et al., 2019); hidden matrices 1/sqrt(fan-in) (LeCun et al., 1998);
matrices that write into the residual stream smaller by sqrt(2 x layers), so that its variance does not grow
with depth (Radford et al., 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp

from lm.model.config import ModelConfig

Group = Literal["matrix", "embedding", "vector", "balance"]
Start = Callable[[tuple[int, ...], ModelConfig, jax.Array], jax.Array]
EMBEDDING_STD = 0.02


def zeros(shape: tuple[int, ...], cfg: ModelConfig, key: jax.Array) -> jax.Array:
    """Starts at 0."""
    return jnp.zeros(shape, jnp.float32)


def ones(shape: tuple[int, ...], cfg: ModelConfig, key: jax.Array) -> jax.Array:
    """Starts at 1."""
    return jnp.ones(shape, jnp.float32)


def halves(shape: tuple[int, ...], cfg: ModelConfig, key: jax.Array) -> jax.Array:
    """Starts at 1/2."""
    return jnp.full(shape, 0.5, jnp.float32)


def hundredths(shape: tuple[int, ...], cfg: ModelConfig, key: jax.Array) -> jax.Array:
    """Starts at 1/100 (Zhu et al., 2024)."""
    return jnp.full(shape, 0.01, jnp.float32)


def tenths(shape: tuple[int, ...], cfg: ModelConfig, key: jax.Array) -> jax.Array:
    """Starts normal with standard deviation 1/10 (Ye et al., 2024)."""
    return 0.1 * jax.random.normal(key, shape, jnp.float32)


def unit_scale(shape: tuple[int, ...], cfg: ModelConfig, key: jax.Array) -> jax.Array:
    """Starts so that a norm scales by 1, whether it stores the scale or what is added to 1."""
    return (zeros if cfg.norm_scale == "one_plus" else ones)(shape, cfg, key)


def open_forget(shape: tuple[int, ...], cfg: ModelConfig, key: jax.Array) -> jax.Array:
    """Starts `[gates, width]` at 0, but at 1 for the second of an LSTM's four, which forgets (Gers et al., 2000)."""
    return jnp.zeros(shape, jnp.float32).at[1].set(1.0 if shape[0] == 4 else 0.0)


def slow_decay(shape: tuple[int, ...], cfg: ModelConfig, key: jax.Array) -> jax.Array:
    """Starts the RG-LRU so that a state keeps 0.9 to 0.999 of itself a token, uniformly (De et al., 2024)."""
    kept = jax.random.uniform(key, shape, jnp.float32, 0.9, 0.999)
    return jnp.log(jnp.expm1(-jnp.log(kept) / 8.0))


def counted_rates(shape: tuple[int, ...], cfg: ModelConfig, key: jax.Array) -> jax.Array:
    """Starts a channel's rates at the logarithms of 1, 2, … (S4D-real, Gu et al., 2022)."""
    return jnp.broadcast_to(jnp.log(jnp.arange(1.0, shape[-1] + 1.0)), shape)


def uniform_fan_in(shape: tuple[int, ...], cfg: ModelConfig, key: jax.Array) -> jax.Array:
    """Starts uniform within 1/sqrt(fan-in), the first dimension (Mamba's convolutions and steps)."""
    return jax.random.uniform(key, shape, jnp.float32, -1.0, 1.0) / math.sqrt(shape[0])


def small_steps(shape: tuple[int, ...], cfg: ModelConfig, key: jax.Array) -> jax.Array:
    """Starts so that steps, a softplus, are log-uniform in 0.001 to 0.1 (Gu & Dao, 2023)."""
    step = jnp.exp(jax.random.uniform(key, shape, jnp.float32, math.log(1e-3), math.log(1e-1)))
    return jnp.log(jnp.expm1(step))


@dataclass(frozen=True)
class Role:
    """Everything that depends on what a parameter is.

    Attributes:
        axes: logical axis of each dimension, mapped to mesh axes by `lm.common.mesh`; a parameter of fewer
            dimensions has the last of them.
        n_in: how many leading dimensions are contracted with the input (the fan-in); 0 for what is no matrix.
        members: how many of those are not, but number matrices that stand side by side.
        group: `matrix` (hidden matrices; Muon's), `embedding` (tables and heads), `vector` (norms, biases) or `balance`
            (of routers, which the training step sets and the optimizer leaves alone).
        residual: whether the output is added to the residual stream.
        decay: whether weight decay applies (matrices only, Loshchilov & Hutter, 2019).
        start: draws the initial values where they are not normal with `std`.
    """

    axes: tuple[str, ...]
    n_in: int
    group: Group
    members: int = 0
    residual: bool = False
    decay: bool = True
    start: Start | None = None

    def std(self, shape: tuple[int, ...], cfg: ModelConfig) -> float:
        """Returns the initial standard deviation for a parameter of `shape` that is drawn normal."""
        assert self.start is None
        if self.group == "embedding":
            return EMBEDDING_STD
        depth = math.sqrt(2 * cfg.n_layers) if self.residual else 1.0
        return 1.0 / (math.sqrt(math.prod(shape[self.members : self.n_in])) * depth)


def vector(*axes: str, start: Start) -> Role:
    """Returns the role of a parameter that is no matrix: it does not decay, and Muon leaves it to AdamW."""
    return Role(axes, 0, "vector", decay=False, start=start)


ROLES: dict[str, Role] = {
    "embed.table": Role(("vocab", "embed"), 1, "embedding"),
    "embed.positions": Role(("positions", "embed"), 1, "embedding"),
    "norm.scale": vector("embed", start=unit_scale),
    "norm.bias": vector("embed", start=zeros),
    "norm.alpha": vector(start=halves),
    "hyper.read": vector("streams", start=zeros),
    "hyper.mix": vector("streams", "streams", start=zeros),
    "hyper.write": vector("streams", start=zeros),
    "hyper.kernel": Role(("embed", "streams"), 1, "matrix", start=zeros),
    "hyper.factors": vector("pair", start=hundredths),
    "q.kernel": Role(("embed", "heads", "head_width"), 1, "matrix"),
    "k.kernel": Role(("embed", "kv_heads", "head_width"), 1, "matrix"),
    "v.kernel": Role(("embed", "kv_heads", "head_width"), 1, "matrix"),
    "o.kernel": Role(("heads", "head_width", "embed"), 2, "matrix", residual=True),
    "q_norm.scale": vector("heads", "head_width", start=unit_scale),
    "k_norm.scale": vector("kv_heads", "head_width", start=unit_scale),
    "head_gate.kernel": Role(("embed", "heads"), 1, "matrix"),
    "element_gate.kernel": Role(("embed", "heads", "head_width"), 1, "matrix"),
    "q_down.kernel": Role(("embed", "latent"), 1, "matrix"),
    "q_latent_norm.scale": vector("latent", start=unit_scale),
    "q_up.kernel": Role(("latent", "heads", "head_width"), 1, "matrix"),
    "kv_down.kernel": Role(("embed", "latent"), 1, "matrix"),
    "kv_latent_norm.scale": vector("latent", start=unit_scale),
    "k_shared.kernel": Role(("embed", "head_width"), 1, "matrix"),
    "k_up.kernel": Role(("latent", "heads", "head_width"), 1, "matrix"),
    "v_up.kernel": Role(("latent", "heads", "head_width"), 1, "matrix"),
    "pair_norm.scale": vector("head_width", start=unit_scale),
    "mixer.lambda_q": vector("pair", "head_width", start=tenths),
    "mixer.lambda_k": vector("pair", "head_width", start=tenths),
    "mixer.sinks": vector("heads", start=zeros),
    "mixer.value_mix": vector("pair", start=halves),
    "cell_in.kernel": Role(("embed", "gates", "recurrent"), 1, "matrix"),
    "cell_in.bias": vector("gates", "recurrent", start=open_forget),
    "mixer.state_kernel": Role(("state", "gates", "recurrent"), 1, "matrix"),
    "mixer.state_bias": vector("gates", "recurrent", start=zeros),
    "recurrent_in.kernel": Role(("embed", "recurrent"), 1, "matrix"),
    "recurrent_gate.kernel": Role(("embed", "recurrent"), 1, "matrix"),
    "recurrent_out.kernel": Role(("recurrent", "embed"), 1, "matrix", residual=True),
    "conv.kernel": vector("taps", "recurrent", start=uniform_fan_in),
    "conv.bias": vector("recurrent", start=zeros),
    "input_gate.kernel": Role(("recurrent", "state", "state"), 2, "matrix", members=1),
    "decay_gate.kernel": Role(("recurrent", "state", "state"), 2, "matrix", members=1),
    "mixer.forget": vector("recurrent", start=slow_decay),
    "select.kernel": Role(("recurrent", "state"), 1, "matrix"),
    "step.kernel": Role(("state", "recurrent"), 1, "matrix", start=uniform_fan_in),
    "step.bias": vector("recurrent", start=small_steps),
    "mixer.a_log": vector("recurrent", "state", start=counted_rates),
    "mixer.skip": vector("recurrent", start=ones),
    "gate.kernel": Role(("embed", "mlp"), 1, "matrix"),
    "up.kernel": Role(("embed", "mlp"), 1, "matrix"),
    "down.kernel": Role(("mlp", "embed"), 1, "matrix", residual=True),
    "router.kernel": Role(("embed", "choices"), 1, "matrix"),
    "router.balance": Role(("choices",), 0, "balance", decay=False, start=zeros),
    "expert_gate.kernel": Role(("expert", "embed", "mlp"), 2, "matrix", members=1),
    "expert_up.kernel": Role(("expert", "embed", "mlp"), 2, "matrix", members=1),
    "expert_down.kernel": Role(("expert", "mlp", "embed"), 2, "matrix", members=1, residual=True),
    "shared_gate.kernel": Role(("embed", "gates"), 1, "matrix"),
    "merge.kernel": Role(("pair", "embed", "embed_activation"), 2, "matrix"),
    "head.kernel": Role(("embed", "vocab"), 1, "embedding"),
}


def named(name: str) -> Role:
    """Returns the role called `name`; a linear map's bias has its kernel's output axes and starts at 0."""
    if name in ROLES:
        return ROLES[name]
    module, _, leaf = name.rpartition(".")
    if leaf == "bias" and (kernel := ROLES.get(f"{module}.kernel")):
        return vector(*kernel.axes[: kernel.members], *kernel.axes[kernel.n_in :], start=zeros)
    kind = module.rpartition("_")[2]  # as `norm` is of `final_norm` and `mlp_norm`
    assert kind in ("norm", "hyper"), f"{name} has no row in the role table"
    return ROLES[f"{kind}.{leaf}"]


def role_of(path: tuple[str, ...]) -> Role:
    """Returns the role of the parameter at `path`, such as `("layers", "block_0", "mixer", "q", "kernel")`."""
    return named(".".join(path[-2:]))


def initialise(name: str, shape: tuple[int, ...], cfg: ModelConfig, key: jax.Array) -> jax.Array:
    """Draws a float32 parameter of `shape` for the role called `name`."""
    role = named(name)
    if role.start is not None:
        return role.start(shape, cfg, key)
    return role.std(shape, cfg) * jax.random.normal(key, shape, jnp.float32)


def path_names(path: tuple[Any, ...]) -> tuple[str, ...]:
    """Turns a JAX key path into plain names."""
    return tuple(str(getattr(entry, "key", getattr(entry, "name", getattr(entry, "idx", entry)))) for entry in path)


def is_stacked(path: tuple[str, ...]) -> bool:
    """Says whether the parameter at `path` carries a leading layer dimension."""
    return path[0] == "layers"


def axes_of(path: tuple[str, ...], rank: int) -> tuple[str, ...]:
    """Returns the logical name of each of the `rank` dimensions of the parameter at `path`."""
    stacked = is_stacked(path)
    axes, own = role_of(path).axes, rank - stacked
    assert own <= len(axes), f"{'/'.join(path)}: axes {axes} for {own} dimensions"
    stack = ("alone" if path[1].startswith("lead_") else "layers",) if stacked else ()
    return stack + axes[len(axes) - own :]


def logical_axes(params: Any) -> Any:
    """Returns, for each parameter, the logical name of each of its dimensions."""
    return jax.tree_util.tree_map_with_path(lambda path, leaf: axes_of(path_names(path), len(leaf.shape)), params)
