"""Multi-head latent attention (DeepSeek-AI, 2024): keys and values of all heads unfold from one narrow latent.

Dims: B batch, T query time, S key time, D width, H heads, L latent, P part of a head without position, R part with,
N = P + R, M value width.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.common.mesh import constrain
from lm.model import rope
from lm.model.attention import Places, attend
from lm.model.config import ModelConfig
from lm.model.context import Context, MixerCache, Stream
from lm.model.linear import Linear, product
from lm.model.mixers.attention import Attending, extend
from lm.model.norms import Norm
from lm.model.roles import initialise
from lm.model.widths import key_width, value_width


class Unfold(nn.Module):
    """A linear map from the latent to every head, which may stand on either side of attention."""

    cfg: ModelConfig
    width: int

    def setup(self) -> None:
        c = self.cfg
        shape, role = (c.latent.kv_rank, c.n_heads, self.width), f"{self.name}.kernel"
        self.kernel = self.param("kernel", lambda key: initialise(role, shape, c, key))

    def __call__(self, latent_BSL: jax.Array) -> jax.Array:
        """Maps latents to heads, `[B, S, H, P]`."""
        kernel_LX = self.kernel.astype(self.cfg.dtype).reshape(latent_BSL.shape[-1], -1)
        heads_BSX = product(latent_BSL, kernel_LX, quantize=self.cfg.quantize)
        return heads_BSX.reshape(*latent_BSL.shape[:-1], *self.kernel.shape[1:])

    def onto_latent(self, q_BTHP: jax.Array) -> jax.Array:
        """Maps queries to where they score a latent as they would score its key, `[B, T, H, L]`."""
        return jnp.einsum("bthp,lhp->bthl", q_BTHP, self.kernel.astype(self.cfg.dtype))

    def of_heads(self, latent_BTHL: jax.Array) -> jax.Array:
        """Maps the latents that each head has read, `[B, T, H, P]`."""
        return jnp.einsum("bthl,lhp->bthp", latent_BTHL, self.kernel.astype(self.cfg.dtype))


class Latent(Attending):
    """Attention that keeps a latent and one rotated key a token, whatever the number of heads.

    `qkv_bias` puts biases on the maps that compress; those that unfold have none.
    """

    @nn.compact
    def __call__(
        self, x_BTD: jax.Array, stream: Stream, context: Context, cached: MixerCache | None
    ) -> tuple[jax.Array, Stream, MixerCache | None]:
        """Returns the mixed `[B, T, D]`, the stream, and the `cached` latents and shared keys extended.

        Without a cache keys and values are unfolded. With one, queries are mapped to the latents and the latents that
        they read to values, so nothing as wide as the heads is ever made of the earlier tokens.
        """
        c = self.cfg
        content_BTHP, rotated_BTHR = self._queries(x_BTD, context)
        latent_BSL, key_BSR = self._compress(x_BTD, context)
        k_up = Unfold(c, c.head_width, name="k_up")
        v_up = Unfold(c, value_width(c, self.layer), name="v_up")
        if cached is None:
            shared_BSHR = jnp.broadcast_to(key_BSR[:, :, None], rotated_BTHR.shape)
            k_BSHN = jnp.concatenate([k_up(latent_BSL), shared_BSHR], axis=-1)
            q_BTHN = jnp.concatenate([content_BTHP, rotated_BTHR], axis=-1)
            o_BTHM = self._attend(q_BTHN, k_BSHN, v_up(latent_BSL), context.places, context, aligned=True)
        else:
            cached, keys = extend(cached, {"latent": latent_BSL, "key": key_BSR}, context)
            k_BS1N = jnp.concatenate([cached["latent"], cached["key"]], axis=-1)[:, :, None]
            q_BTHN = jnp.concatenate([k_up.onto_latent(content_BTHP), rotated_BTHR], axis=-1)
            read_BTHL = self._attend(q_BTHN, k_BS1N, cached["latent"][:, :, None], keys, context, aligned=False)
            o_BTHM = v_up.of_heads(read_BTHL)
        o_BTHM = self._gate(o_BTHM, x_BTD)
        return Linear(c, (c.n_heads, value_width(c, self.layer), c.d_model), c.o_bias, name="o")(o_BTHM), stream, cached

    def _queries(self, x_BTD: jax.Array, context: Context) -> tuple[jax.Array, jax.Array]:
        """Returns what queries ask of content, `[B, T, H, P]`, and of position, `[B, T, H, R]`."""
        c, rank = self.cfg, self.cfg.latent.q_rank
        heads = (c.n_heads, key_width(c, self.layer))
        if rank:
            latent_BTL = Linear(c, (c.d_model, rank), c.qkv_bias, name="q_down")(x_BTD)
            latent_BTL = Norm(c, "rms", epsilon=c.latent.norm_epsilon, name="q_latent_norm")(latent_BTL)
            q_BTHN = Linear(c, (rank, *heads), name="q_up")(latent_BTL)
        else:
            q_BTHN = Linear(c, (c.d_model, *heads), name="q")(x_BTD)
        return q_BTHN[..., : c.head_width], self._rotate(q_BTHN[..., c.head_width :], context)

    def _compress(self, x_BTD: jax.Array, context: Context) -> tuple[jax.Array, jax.Array]:
        """Returns each token's latent, `[B, T, L]`, and the key that its heads share, `[B, T, R]`."""
        c, size = self.cfg, self.cfg.latent
        latent_BTL = Linear(c, (c.d_model, size.kv_rank), c.qkv_bias, name="kv_down")(x_BTD)
        key_BTR = Linear(c, (c.d_model, size.rope_width), c.qkv_bias, name="k_shared")(x_BTD)
        key_BTR = self._rotate(key_BTR[:, :, None], context)[:, :, 0]
        return Norm(c, "rms", epsilon=size.norm_epsilon, name="kv_latent_norm")(latent_BTL), key_BTR

    def _rotate(self, x_BTHR: jax.Array, context: Context) -> jax.Array:
        c, layer = self.cfg, self.layer
        if layer.position != "rope":
            return x_BTHR
        turns_R = rope.frequencies(c.rope, c.latent.rope_width, layer.theta, layer.factor)
        return rope.rotate(x_BTHR, context.places.positions_BT, turns_R, rope.magnitude(c.rope, layer.factor))

    def _attend(
        self, q_BTHN: jax.Array, k_BSKN: jax.Array, v_BSKM: jax.Array, keys: Places, context: Context, *, aligned: bool
    ) -> jax.Array:
        c, queries, scores = self.cfg, context.places, self._scores()
        q_BTHN = constrain(q_BTHN, ("batch", "time", "heads", "head_width"))
        return attend(c.attention_backend, q_BTHN, k_BSKN, v_BSKM, queries, keys, scores, aligned=aligned)

    @staticmethod
    def empty(cfg: ModelConfig, batch: int, slots: int) -> MixerCache:
        """Returns zeros for the latents and shared keys of `slots` tokens a row."""
        widths = {"latent": cfg.latent.kv_rank, "key": cfg.latent.rope_width}
        return {name: jnp.zeros((batch, slots, width), cfg.dtype) for name, width in widths.items()}
