"""How the next token is drawn from logits.

Dims: B batch, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from lm.common.errors import UserError


@dataclass(frozen=True)
class Sampling:
    """Temperature 0 is greedy; `top_k` 0 and `top_p` 1 keep every token."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise UserError(f"temperature={self.temperature}: must be 0 (greedy) or more")
        if self.top_k < 0:
            raise UserError(f"top_k={self.top_k}: must be 0 (all tokens) or more")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p={self.top_p}: must be in (0, 1]")

    def allowed(self, logits_BV: jax.Array) -> jax.Array:
        """Returns tempered logits with every token outside top-k and the nucleus (Holtzman et al., 2020) at -inf."""
        scaled_BV = logits_BV / max(self.temperature, 1e-6)
        if self.top_k:
            kth_B1 = jax.lax.top_k(scaled_BV, min(self.top_k, scaled_BV.shape[-1]))[0][:, -1:]
            scaled_BV = jnp.where(scaled_BV < kth_B1, -jnp.inf, scaled_BV)
        if self.top_p < 1:
            sorted_BV = -jnp.sort(-scaled_BV, axis=-1)
            probability_BV = jax.nn.softmax(sorted_BV, axis=-1)
            before_BV = jnp.cumsum(probability_BV, axis=-1) - probability_BV
            # The smallest set that reaches top_p: every token whose predecessors fall short of it.
            least_B1 = jnp.min(jnp.where(before_BV < self.top_p, sorted_BV, jnp.inf), axis=-1, keepdims=True)
            scaled_BV = jnp.where(scaled_BV < least_B1, -jnp.inf, scaled_BV)
        return scaled_BV

    def draw(self, logits_BV: jax.Array, key: jax.Array) -> jax.Array:
        """Draws one token a row, `[B]` int32."""
        if self.temperature == 0:
            return jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
        return jax.random.categorical(key, self.allowed(logits_BV)).astype(jnp.int32)
