"""The decoder: embed, a stack of blocks, norm, unembed.

Dims: B batch, T query time, S cache slots, D width, V vocabulary, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lm.common import mesh as meshes
from lm.common.mesh import constrain
from lm.model import cache as caches
from lm.model import hyper, pipeline
from lm.model.ahead import Ahead, later
from lm.model.attention import Places
from lm.model.block import Block
from lm.model.cache import Cache
from lm.model.config import ModelConfig, Stack
from lm.model.context import Aux, Context, MixerCache, Stream, dropout
from lm.model.linear import Linear, product
from lm.model.norms import Norm
from lm.model.positions import sinusoids
from lm.model.roles import initialise

EMBEDDING_SITE = 2  # blocks use dropout sites 0 and 1


class Hidden(NamedTuple):
    """What `unembed` turns into logits, `[B, T, D]`; the updated cache if one was given; what each stack reports."""

    h_BTD: jax.Array
    cache: Cache | None
    aux: dict[str, Aux]


class Output(NamedTuple):
    """Logits `[B, T, V]` in float32; the updated cache if one was given; what each stack of layers reports."""

    logits_BTV: jax.Array
    cache: Cache | None
    aux: dict[str, Aux]


class Embedding(nn.Module):
    """The token table, read by row going in and, where tied, as the output head; and positions beside it."""

    cfg: ModelConfig

    def setup(self) -> None:
        c = self.cfg
        self.table = self.param("table", lambda key: initialise("embed.table", (c.vocab_size, c.d_model), c, key))
        if c.position_embedding == "learned":
            shape = (c.max_seq_len, c.d_model)
            self.positions = self.param("positions", lambda key: initialise("embed.positions", shape, c, key))

    def __call__(self, tokens_BT: jax.Array, positions_BT: jax.Array) -> jax.Array:
        """Looks up `[B, T, D]` in the compute dtype."""
        c = self.cfg
        x_BTD = self.table[tokens_BT].astype(c.dtype)
        if c.embedding_scale != 1.0:
            x_BTD *= jnp.asarray(c.embedding_scale, c.dtype)
        if c.position_embedding == "learned":
            x_BTD += self.positions[positions_BT].astype(c.dtype)
        elif c.position_embedding == "sinusoidal":
            x_BTD += sinusoids(positions_BT, c.d_model).astype(c.dtype)
        return x_BTD

    def logits(self, x_BTD: jax.Array) -> jax.Array:
        """Scores each `[D]` vector against every row of the table: `[B, T, V]`."""
        table_DV = self.table.astype(self.cfg.dtype).T
        return product(x_BTD, table_DV, "float32")


class Layers(nn.Module):
    """The blocks, stored stacked by their place in the layer pattern whether they run scanned or unrolled."""

    cfg: ModelConfig

    @nn.compact
    def __call__(
        self, stream: Stream, context: Context, cache: dict[str, MixerCache] | None
    ) -> tuple[jax.Array, dict[str, MixerCache] | None, dict[str, Aux]]:
        """Runs all layers; returns `[B, T, D]`, the stacks' updated mixer caches and what their layers report."""
        c = self.cfg
        params = {s.name: self.param(s.name, lambda key, s=s: _init_stack(c, s, key)) for s in c.stacks}
        alone = {s.name: _runner(c, s, looped=False) for s in c.stacks}
        looped = {s.name: _runner(c, s, looped=True) for s in c.stacks}
        staged = {s.name: _runner(c, s, looped=True, staged=True) for s in c.stacks}
        entries = {name: (params[name], None if cache is None else cache[name]) for name in params}
        wholes = (c.n_layers - c.n_lead) // c.period if c.scan_layers else 0

        def run(
            blocks: dict[str, Any], stream: Stream, context: Context, numbers: Sequence[Any], entries: dict[str, Any]
        ) -> tuple[Stream, dict[str, Any]]:
            """Runs one layer of each of `entries`; returns what each keeps and reports."""
            made = {}
            for (name, (parameters, cached)), number in zip(entries.items(), numbers, strict=True):
                stream, kept, aux = blocks[name](parameters, stream, context._replace(layer=number), cached)
                made[name] = (kept, aux)
            return stream, made

        def run_one(stream: Stream, number: int, written: dict[str, list[Any]]) -> Stream:
            name, at = c.place(number)
            one = {name: jax.tree.map(lambda a: a[at], entries[name])}
            stream, made = run(alone, stream, context, [number], one)
            written[name].append(jax.tree.map(lambda a: a[None], made[name]))
            return stream

        written: dict[str, list[Any]] = {s.name: [] for s in c.stacks}
        for number in range(c.n_lead):
            stream = run_one(stream, number, written)
        if wholes:
            body = [s for s in c.stacks if s.first >= c.n_lead]
            scanned = {s.name: jax.tree.map(lambda a: a[:wholes], entries[s.name]) for s in body}
            firsts = jnp.arange(c.n_lead, c.n_lead + wholes * c.period).reshape(wholes, c.period)

            def loop(blocks: Any, stream: Stream, context: Context, stacked: Any) -> tuple[Stream, dict[str, Any]]:
                return jax.lax.scan(lambda x, xs: run(blocks, x, context, list(xs[0]), xs[1]), stream, stacked)

            if meshes.size(pipeline.AXIS) > 1 and cache is None and not self.is_initializing():
                stream, made = pipeline.run(c, partial(loop, staged), stream, context, (firsts, scanned))
            else:
                stream, made = loop(looped, stream, context, (firsts, scanned))
            for name, stacked in made.items():
                written[name].append(stacked)
        for number in range(c.n_lead + wholes * c.period, c.n_layers):
            stream = run_one(stream, number, written)
        joined = {name: jax.tree.map(lambda *a: jnp.concatenate(a), *parts) for name, parts in written.items()}
        kept = None if cache is None else {name: kept for name, (kept, _) in joined.items()}
        return hyper.gather(c, stream.x), kept, {name: aux for name, (_, aux) in joined.items() if aux}


def _init_stack(cfg: ModelConfig, stack: Stack, key: jax.Array) -> Any:
    """Draws the parameters of like layers, with a key for each, stacked."""
    cfg = replace(cfg, attention_backend="xla")  # the one token that shapes them cannot be split over devices
    x_BTD = jnp.zeros((1, 1, cfg.d_model), cfg.dtype)
    places = Places(jnp.ones((1, 1), jnp.int32), jnp.zeros((1, 1), jnp.int32))
    block, stream = Block(cfg, stack.layer, parent=None), begin(cfg, x_BTD)
    return jax.vmap(lambda k: block.init(k, stream, Context(places))["params"])(jax.random.split(key, stack.count))


def _runner(cfg: ModelConfig, stack: Stack, *, looped: bool, staged: bool = False) -> Any:
    """Returns one block as a function whose backward pass recomputes all of it (`block`) or all but its products.

    Outside a loop the compiler must be kept from finding the recomputation's common subexpressions and keeping them.
    On a stage of a pipeline it is the stage that decides.
    """
    block = Block(cfg, stack.layer, parent=None)

    def run(params: Any, stream: Stream, context: Context, cached: MixerCache | None) -> Any:
        stream = pipeline.mark(stream) if staged else stream
        return block.apply({"params": params}, stream, context, cached)

    if cfg.remat == "none" or staged:
        return run
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable if cfg.remat == "dots" else None
    return jax.checkpoint(run, policy=policy, prevent_cse=not looped)


def begin(cfg: ModelConfig, x_BTD: jax.Array) -> Stream:
    """Returns the stream that enters the first layer."""
    x = hyper.spread(cfg, x_BTD)
    if not cfg.value_residual:
        return Stream(x)
    shape = (*x_BTD.shape[:2], cfg.n_kv_heads, cfg.head_width)
    return Stream(x, jnp.zeros(shape, cfg.dtype))


class Decoder(nn.Module):
    """A decoder-only language model as a pure function of (params, tokens)."""

    cfg: ModelConfig

    def setup(self) -> None:
        c = self.cfg
        self.embed = Embedding(c)
        self.layers = Layers(c)
        self.ahead = [Ahead(c, depth) for depth in range(1, c.predict_ahead + 1)]
        if c.final_norm:
            self.final_norm = Norm(c)
        if not c.tie_embeddings:
            self.head = Linear(c, (c.d_model, c.vocab_size), c.head_bias, out_dtype="float32")

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
            cache: what was kept of earlier tokens; this call's are added to it.
        """
        hidden = self.hidden(tokens_BT, segments_BT, positions_BT, dropout_keys_B=dropout_keys_B, cache=cache)
        return Output(self.unembed(hidden.h_BTD), hidden.cache, hidden.aux)

    def hidden(
        self,
        tokens_BT: jax.Array,
        segments_BT: jax.Array | None = None,
        positions_BT: jax.Array | None = None,
        *,
        dropout_keys_B: jax.Array | None = None,
        cache: Cache | None = None,
    ) -> Hidden:
        """Runs all but the head."""
        if segments_BT is None:
            segments_BT = jnp.ones_like(tokens_BT)
        if positions_BT is None:
            positions_BT = jnp.broadcast_to(jnp.arange(tokens_BT.shape[1]), tokens_BT.shape)
        context = Context(Places(segments_BT, positions_BT), dropout_keys_B)
        if cache is not None:
            start = cache.length
            cache, slots = caches.place(cache, context.places)
            context = context._replace(slots=slots, start=start)
        x_BTD = self.enter(tokens_BT, positions_BT)
        x_BTD = dropout(x_BTD, self.cfg.dropout, context, site=EMBEDDING_SITE)
        x_BTD, layers, aux = self.layers(begin(self.cfg, x_BTD), context, None if cache is None else cache.layers)
        if cache is not None:
            assert layers is not None
            cache = cache._replace(layers=layers)
        hidden = Hidden(self._normed(x_BTD), cache, aux)
        if self.is_initializing():
            self.foretell(hidden.h_BTD, tokens_BT, context.places)
        return hidden

    def enter(self, tokens_BT: jax.Array, positions_BT: jax.Array) -> jax.Array:
        """Returns what enters the layers, `[B, T, D]`, before dropout."""
        return constrain(self.embed(tokens_BT, positions_BT), ("batch", "time", "embed_activation"))

    def foretell(
        self, h_BTD: jax.Array, tokens_BT: jax.Array, places: Places, dropout_keys_B: jax.Array | None = None
    ) -> list[jax.Array]:
        """Returns, for each depth of `predict_ahead`, what `unembed` turns into logits of the token so much further.

        From what `hidden` returned; `[B, T, D]` each, meaningless where `ahead.has_later` says there is no such token.
        """
        found, context = [], Context(places, dropout_keys_B)
        for depth, module in enumerate(self.ahead, 1):
            token_BTD = self.embed(later(tokens_BT, depth), later(places.positions_BT, depth))
            h_BTD = module(h_BTD, token_BTD, context)
            found.append(self._normed(h_BTD))
        return found

    def _normed(self, x_BTD: jax.Array) -> jax.Array:
        return self.final_norm(x_BTD) if self.cfg.final_norm else x_BTD

    def unembed(self, h_BTD: jax.Array) -> jax.Array:
        """Returns float32 logits `[B, T, V]`."""
        c = self.cfg
        logits_BTV = self.embed.logits(h_BTD) if c.tie_embeddings else self.head(h_BTD)
        if c.logit_scale != 1.0:
            logits_BTV *= c.logit_scale
        if c.logit_softcap:
            logits_BTV = c.logit_softcap * jnp.tanh(logits_BTV / c.logit_softcap)
        return constrain(logits_BTV, ("batch", "time", "vocab"))


def init(cfg: ModelConfig, key: jax.Array) -> Any:
    """Draws the float32 parameter tree of `cfg`."""
    anywhere = replace(cfg, attention_backend="xla")  # no parameter depends on it
    return Decoder(anywhere).init(key, jnp.zeros((1, 1), jnp.int32))["params"]
