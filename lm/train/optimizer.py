"""AdamW and Muon over one parameter tree: the role table says which parameter gets which.

Dims: L layers, I input side of a matrix, O output side.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lm.common.errors import UserError
from lm.model.roles import Role, is_stacked, path_names, role_of
from lm.train.parametrization import matrix_multiplier
from lm.train.schedule import Schedule

# Quintic iteration whose slope at 0 is large; it drives every singular value into about [0.7, 1.2] in five rounds.
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_ROUNDS = 5
MOMENT_DTYPES = ("float32", "bfloat16")
# Gives an orthogonal update the root mean square that AdamW's typically has, so both share one learning rate.
MUON_RMS = 0.2


class OptimizerState(NamedTuple):
    """Moments shaped like the parameters; `nu` is a single zero where Muon keeps no second moment."""

    steps: jax.Array
    mu: Any
    nu: Any


class Optimizer(NamedTuple):
    """The optimizer as a value; `init` and `update` are its pure functions.

    With `offload` the state's moments lie in the host's memory between steps, see `lm.train.state`.
    """

    name: str
    peak_lr: float
    schedule: Schedule
    b1: float
    b2: float
    epsilon: float
    weight_decay: float
    muon_momentum: float
    width_ratio: float = 1.0
    moment_dtype: str = "float32"
    offload: bool = False

    @classmethod
    def from_config(cls, cfg: Any, schedule: Schedule, width_ratio: float = 1.0) -> Optimizer:
        """Takes the keys of `config.optimizer`, and under µP the width over that of the base.

        Raises:
            UserError: a name that is no optimizer, or a dtype that moments are not kept in.
        """
        if cfg.name not in ("adamw", "muon"):
            raise UserError(f"optimizer.name={cfg.name}: choose adamw or muon")
        if cfg.moment_dtype not in MOMENT_DTYPES:
            raise UserError(f"optimizer.moment_dtype={cfg.moment_dtype}: choose one of {', '.join(MOMENT_DTYPES)}")
        betas = (cfg.b1, cfg.b2, cfg.epsilon)
        made = cls(cfg.name, cfg.peak_lr, schedule, *betas, cfg.weight_decay, cfg.muon_momentum, width_ratio)
        return made._replace(moment_dtype=cfg.moment_dtype, offload=cfg.offload)

    def uses_muon(self, role: Role) -> bool:
        """Says whether parameters of this role are updated by Muon: hidden matrices, when it is on."""
        return self.name == "muon" and role.group == "matrix"

    def init(self, params: Any) -> OptimizerState:
        """Returns zero moments; the second is always float32: what is too small for its digits would be lost."""

        def second(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
            return jnp.zeros(() if self.uses_muon(role_of(path_names(path))) else leaf.shape, jnp.float32)

        mu = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, self.moment_dtype), params)
        return OptimizerState(jnp.zeros((), jnp.int32), mu, jax.tree_util.tree_map_with_path(second, params))

    def learning_rate(self, steps: jax.Array) -> jax.Array:
        """Returns the learning rate of the step after `steps` steps."""
        return self.peak_lr * self.schedule(steps)

    def update(
        self, grads: Any, state: OptimizerState, params: Any, unless: jax.Array | None = None
    ) -> tuple[Any, OptimizerState]:
        """Returns new parameters and state; decay is decoupled from the gradient (Loshchilov & Hutter, 2019).

        Where `unless` is true, nothing but the count of steps changes.
        """
        lr = self.learning_rate(state.steps)
        steps = state.steps + 1
        # What is done when the next moments are fetched: all gradients, then one leaf after another.
        before: Any = grads

        def settled(new: Any, old: Any) -> Any:
            return new if unless is None else jnp.where(unless, old, new)

        def leaf(path: tuple[Any, ...], g: Any, mu: Any, nu: Any, p: Any) -> tuple[Any, Any, Any]:
            names = path_names(path)
            role = role_of(names)
            if role.group == "balance":
                return p, mu, nu
            nonlocal before
            if self.offload:
                mu, nu = _fetched((mu, nu), before)
            old_mu, old_nu, mu = mu, nu, mu.astype(jnp.float32)
            if self.uses_muon(role):
                direction, mu = self._muon(g, mu, role, stacked=is_stacked(names))
            else:
                direction, mu, nu = self._adam(g, mu, nu, steps)
            direction = self._multiplier(role) * direction
            if role.decay:  # by the learning rate alone, whatever the width
                direction = direction + self.weight_decay * p
            p, mu, nu = (
                settled(p - lr * direction, p),
                settled(mu.astype(self.moment_dtype), old_mu),
                settled(nu, old_nu),
            )
            if self.offload:
                mu, nu = before = _put_away((mu, nu))
            return p, mu, nu

        triples = jax.tree_util.tree_map_with_path(leaf, grads, state.mu, state.nu, params)
        new_params, mu, nu = jax.tree.transpose(jax.tree.structure(params), jax.tree.structure((0, 0, 0)), triples)
        return new_params, OptimizerState(steps, mu, nu)

    def _multiplier(self, role: Role) -> float:
        """Returns the factor on what the gradient moves a parameter by."""
        return matrix_multiplier(self.width_ratio, orthogonal=self.uses_muon(role)) if role.group == "matrix" else 1.0

    def _adam(self, g: Any, mu: Any, nu: Any, steps: jax.Array) -> tuple[Any, Any, Any]:
        """Adam's direction with bias correction (Kingma & Ba, 2015)."""
        mu = self.b1 * mu + (1.0 - self.b1) * g
        nu = self.b2 * nu + (1.0 - self.b2) * jnp.square(g)
        mu_hat, nu_hat = mu / (1.0 - self.b1**steps), nu / (1.0 - self.b2**steps)
        return mu_hat / (jnp.sqrt(nu_hat) + self.epsilon), mu, nu

    def _muon(self, g: Any, mu: Any, role: Role, *, stacked: bool) -> tuple[Any, Any]:
        """Muon's direction: Nesterov momentum, orthogonalised (Jordan, 2024), scaled as by Liu et al. (2025)."""
        mu = self.muon_momentum * mu + g
        nesterov = g + self.muon_momentum * mu
        many, start = int(stacked) + role.members, int(stacked) + role.n_in
        rows = math.prod(g.shape[many:start])
        columns = math.prod(g.shape[start:])
        direction_LIO = orthogonalise(nesterov.reshape(-1, rows, columns))
        return (MUON_RMS * math.sqrt(max(rows, columns)) * direction_LIO).reshape(g.shape), mu


def _fetched(moments: tuple[Any, Any], before: Any) -> tuple[Any, Any]:
    """Brings a leaf's moments from the host's memory once `before` is computed: else all would come at once, early."""
    held, _ = jax.lax.optimization_barrier((moments, before))
    return jax.tree.map(lambda m: jax.device_put(m, jax.memory.Space.Device) if m.ndim else m, held)


def _put_away(moments: tuple[Any, Any]) -> tuple[Any, Any]:
    return jax.tree.map(lambda m: jax.device_put(m, jax.memory.Space.Host) if m.ndim else m, moments)


def orthogonalise(x_LIO: jax.Array) -> jax.Array:
    """Replaces each matrix by roughly the nearest orthogonal one, by Newton-Schulz iteration in float32."""
    if x_LIO.shape[-2] > x_LIO.shape[-1]:  # iterate on the smaller Gram matrix
        return orthogonalise(x_LIO.swapaxes(-1, -2)).swapaxes(-1, -2)
    a, b, c = NEWTON_SCHULZ
    x_LIO = x_LIO / (jnp.linalg.norm(x_LIO, axis=(-2, -1), keepdims=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_ROUNDS):
        gram_LII = x_LIO @ x_LIO.swapaxes(-1, -2)
        x_LIO = a * x_LIO + (b * gram_LII + c * gram_LII @ gram_LII) @ x_LIO
    return x_LIO


def global_norm(tree: Any) -> jax.Array:
    """Returns the Euclidean norm over all leaves."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree)))


def clip(grads: Any, norm: jax.Array, limit: float) -> Any:
    """Scales gradients of global norm `norm` down to `limit` if they exceed it (Pascanu et al., 2013)."""
    return jax.tree.map(lambda g: g * jnp.minimum(1.0, limit / jnp.maximum(norm, 1e-12)), grads)
