"""The decoder: embed, a stack of blocks, norm, unembed.

Dims: B batch, T query time, S cache slots, D width, V vocabulary, L layers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.common.mesh import constrain
from lm.model import cache as kv
from lm.model.attention import Places
from lm.model.cache import Cache
from lm.model.config import ModelConfig
from lm.model.layers import Block, Context, Linear, RMSNorm, dropout
from lm.model.roles import initialise

EMBEDDING_SITE = 2  # blocks use dropout sites 0 and 1


class Output(NamedTuple):
    """Logits `[B, T, V]` in float32, and the updated cache if one was given."""

    logits_BTV: jax.Array
    cache: Cache | None


class Embedding(nn.Module):
    """The token table, read by row going in and, where tied, as the output head."""

    cfg: ModelConfig

    def setup(self) -> None:
        shape = (self.cfg.vocab_size, self.cfg.d_model)
        self.table = self.param("table", lambda key: initialise("embed.table", shape, self.cfg, key))

    def __call__(self, tokens_BT: jax.Array) -> jax.Array:
        """Looks up `[B, T, D]` in the compute dtype."""
        return self.table[tokens_BT].astype(self.cfg.dtype)

    def logits(self, x_BTD: jax.Array) -> jax.Array:
        """Scores each `[D]` vector against every row of the table: `[B, T, V]`."""
        table_DV = self.table.astype(self.cfg.dtype).T
        flat = jnp.dot(x_BTD.reshape(-1, self.cfg.d_model), table_DV, preferred_element_type=jnp.float32)
        return flat.reshape(*x_BTD.shape[:-1], -1)


class Layers(nn.Module):
    """The blocks, stored stacked on a leading layer axis whether they run scanned or unrolled."""

    cfg: ModelConfig

    @nn.compact
    def __call__(self, x_BTD: jax.Array, context: Context, cache: Cache | None) -> tuple[jax.Array, Cache | None]:
        """Runs all layers; the cache's slots must already be placed by the caller."""
        c = self.cfg
        block = Block(c, parent=None)

        def init_stack(key: jax.Array) -> Any:
            sample_BTD = jnp.zeros((1, 1, c.d_model), c.dtype)
            places = Places(jnp.ones((1, 1), jnp.int32), jnp.zeros((1, 1), jnp.int32))
            init = lambda k: block.init(k, sample_BTD, Context(places))["params"]  # noqa: E731
            return jax.vmap(init)(jax.random.split(key, c.n_layers))

        def layer(x_BTD: jax.Array, xs: tuple[Any, jax.Array, Any]) -> tuple[jax.Array, Any]:
            params, number, cached = xs
            return block.apply({"params": params}, x_BTD, context._replace(layer=number), cached)

        layer = _rematerialised(layer, c.remat, scanned=c.scan_layers)
        cached = (cache.k_LBSKN, cache.v_LBSKN) if cache is not None else None
        xs: Any = (self.param("block_0", init_stack), jnp.arange(c.n_layers), cached)
        if c.scan_layers:
            x_BTD, written = jax.lax.scan(layer, x_BTD, xs)
        else:
            outputs = []
            for i in range(c.n_layers):
                x_BTD, output = layer(x_BTD, jax.tree.map(lambda a, i=i: a[i], xs))
                outputs.append(output)
            written = jax.tree.map(lambda *a: jnp.stack(a), *outputs)
        return x_BTD, cache if cache is None else cache._replace(k_LBSKN=written[0], v_LBSKN=written[1])


def _rematerialised(layer: Any, remat: str, *, scanned: bool) -> Any:
    """Wraps a layer so that its backward pass recomputes all of it (`block`) or all but its products (`dots`)."""
    if remat == "none":
        return layer
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable if remat == "dots" else None
    return jax.checkpoint(layer, policy=policy, prevent_cse=not scanned)  # a scan's body cannot be merged with another


class Decoder(nn.Module):
    """A decoder-only language model as a pure function of (params, tokens)."""

    cfg: ModelConfig

    def setup(self) -> None:
        self.embed = Embedding(self.cfg)
        self.layers = Layers(self.cfg)
        self.final_norm = RMSNorm(self.cfg)
        if not self.cfg.tie_embeddings:
            self.head = Linear(self.cfg, (self.cfg.d_model, self.cfg.vocab_size), out_dtype="float32")

    def __call__(
        self,
        tokens_BT: jax.Array,
        segments_BT: jax.Array | None = None,
        positions_BT: jax.Array | None = None,
        *,
        dropout_keys_B: jax.Array | None = None,
        cache: Cache | None = None,
    ) -> Output:
        """Predicts the next token at every place.

        Args:
            tokens_BT: token ids.
            segments_BT: document of each token within its row, 0 for padding; all one document if left out.
            positions_BT: position of each token within its document; 0 to T-1 if left out.
            dropout_keys_B: one PRNG key a row; no dropout if left out.
            cache: earlier tokens' keys and values; this call's are added to it.
        """
        h_BTD, cache = self.hidden(tokens_BT, segments_BT, positions_BT, dropout_keys_B=dropout_keys_B, cache=cache)
        return Output(self.unembed(h_BTD), cache)

    def hidden(
        self,
        tokens_BT: jax.Array,
        segments_BT: jax.Array | None = None,
        positions_BT: jax.Array | None = None,
        *,
        dropout_keys_B: jax.Array | None = None,
        cache: Cache | None = None,
    ) -> tuple[jax.Array, Cache | None]:
        """Returns the normed `[B, T, D]` that `unembed` turns into logits, and the updated cache."""
        if segments_BT is None:
            segments_BT = jnp.ones_like(tokens_BT)
        if positions_BT is None:
            positions_BT = jnp.broadcast_to(jnp.arange(tokens_BT.shape[1]), tokens_BT.shape)
        context = Context(Places(segments_BT, positions_BT), dropout_keys_B)
        if cache is not None:
            slots = Places(
                kv.write(cache.segments_BS, segments_BT, cache.length),
                kv.write(cache.positions_BS, positions_BT, cache.length),
            )
            context = context._replace(slots=slots, start=cache.length)
            cache = cache._replace(
                segments_BS=slots.segments_BT,
                positions_BS=slots.positions_BT,
                length=cache.length + tokens_BT.shape[1],
            )
        x_BTD = constrain(self.embed(tokens_BT), ("batch", "time", "embed_activation"))
        x_BTD = dropout(x_BTD, self.cfg.dropout, context, site=EMBEDDING_SITE)
        x_BTD, cache = self.layers(x_BTD, context, cache)
        return self.final_norm(x_BTD), cache

    def unembed(self, h_BTD: jax.Array) -> jax.Array:
        """Returns float32 logits `[B, T, V]`."""
        logits_BTV = self.embed.logits(h_BTD) if self.cfg.tie_embeddings else self.head(h_BTD)
        return constrain(logits_BTV, ("batch", "time", "vocab"))


def init(cfg: ModelConfig, key: jax.Array) -> Any:
    """Draws the float32 parameter tree of `cfg`."""
    return Decoder(cfg).init(key, jnp.zeros((1, 1), jnp.int32))["params"]
