"""Mixture of experts in the training step: losses beside the next token's, what is logged, and biases that even loads.

All from what the layers report, by stack: sums over the tokens of a batch, so that parts of it can be added.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from lm.model.config import Moe
from lm.model.context import Aux
from lm.model.roles import path_names, role_of

Reports = Mapping[str, Aux]


def penalty(moe: Moe, reports: Reports) -> jax.Array:
    """Returns what routers add to the loss, summed over layers and tokens; 0 without any."""
    weight = moe.balance_weight if moe.balance == "loss" else 0.0
    return weight * _total(reports, "balance") + moe.z_weight * _total(reports, "z")


def metrics(reports: Reports, tokens: jax.Array) -> dict[str, jax.Array]:
    """Returns what is logged: losses a token and layer, and how the busiest expert's load compares to an even one.

    With a capacity, also the share of choices that were dropped.
    """
    loads = [report["load"] for report in reports.values() if "load" in report]
    if not loads:
        return {}
    layers = sum(len(load) for load in loads)
    found = {
        "train/moe_balance": _total(reports, "balance") / (tokens * layers),
        "train/moe_z": _total(reports, "z") / (tokens * layers),
        "train/moe_load": jnp.max(jnp.stack([_busiest(load) for load in loads])),
    }
    if any("dropped" in report for report in reports.values()):
        found["train/moe_dropped"] = _total(reports, "dropped") / jnp.maximum(_total(reports, "load"), 1.0)
    return found


def rebalance(params: Any, reports: Reports, rate: float) -> Any:
    """Moves each router's bias up for experts with less than an even load, down for those with more.

    By `rate` whatever the distance: the auxiliary-loss-free balancing of Wang et al. (2024).
    """

    def leaf(path: tuple[Any, ...], p: jax.Array) -> jax.Array:
        names = path_names(path)
        if role_of(names).group != "balance":
            return p
        load = reports[names[1]]["load"]
        return p + rate * jnp.sign(jnp.mean(load, axis=-1, keepdims=True) - load)

    return jax.tree_util.tree_map_with_path(leaf, params)


def _total(reports: Reports, name: str) -> jax.Array:
    return sum((jnp.sum(report[name]) for report in reports.values() if name in report), jnp.zeros(()))


def _busiest(load: jax.Array) -> jax.Array:
    return jnp.max(load / jnp.maximum(jnp.mean(load, axis=-1, keepdims=True), 1e-9))
