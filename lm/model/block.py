"""One layer: a mixer and an MLP on a residual stream, in each published arrangement of norms.

Dims: B batch, T time, D width.
"""

from __future__ import annotations

import flax.linen as nn
import jax

from lm.common.mesh import constrain
from lm.model.config import Layer, ModelConfig
from lm.model.context import Aux, Context, MixerCache, Stream, dropout
from lm.model.hyper import Hyper, Plain, Weighted
from lm.model.mixers import MIXERS
from lm.model.mlp import MLP
from lm.model.moe import MoE
from lm.model.norms import Norm


class Block(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x)); or the norms elsewhere, or both branches at once.

    `pre` norms what a branch reads (Xiong et al., 2020), `post` the sum (Vaswani et al., 2017), `output` what a
    branch writes (OLMo 2), `sandwich` what it reads and what it writes (Gemma 2). Of several streams, x is what `Hyper`
    has a branch read, and how it is added.
    """

    cfg: ModelConfig
    layer: Layer

    @nn.compact
    def __call__(
        self, stream: Stream, context: Context, cached: MixerCache | None = None
    ) -> tuple[Stream, MixerCache | None, Aux]:
        """Returns the stream after the layer, its mixer's updated cache (None without one), and what it reports."""
        c = self.cfg
        x = stream.x
        aux: Aux = {}
        links = self._links(x, context, "mixer", site=0)
        read_BTD = self._read(links.read(x), "mixer_norm")
        mixer = MIXERS[self.layer.mixer](c, self.layer, name="mixer")
        mixed_BTD, stream, cached = mixer(read_BTD, stream, context, cached)
        if c.residual == "sequential":
            x = self._add(x, mixed_BTD, links, context, "mixer", site=0)
            if self.layer.mlp != "none":
                links = self._links(x, context, "mlp", site=1)
                mlp_BTD, aux = self._feed_forward(self._read(links.read(x), "mlp_norm"), context)
                x = self._add(x, mlp_BTD, links, context, "mlp", site=1)
        else:
            if c.residual == "parallel":
                read_BTD = self._read(x, "mlp_norm")
            mlp_BTD, aux = self._feed_forward(read_BTD, context)
            x = self._add(x, mixed_BTD, links, context, "mixer", site=0)
            x = self._add(x, mlp_BTD, links, context, "mlp", site=1)
        streams = ("streams",) * (x.ndim - 3)
        return stream._replace(x=constrain(x, ("batch", "time", *streams, "embed_activation"))), cached, aux

    def _links(self, x: jax.Array, context: Context, branch: str, *, site: int) -> Plain | Weighted:
        """Returns how a branch hangs on the stream, or on all of them."""
        if self.cfg.hyper_streams == 1:
            return Plain()
        return Hyper(self.cfg, name=f"{branch}_hyper")(x, context.layer + site)  # the MLP begins with the next stream

    def _feed_forward(self, x_BTD: jax.Array, context: Context) -> tuple[jax.Array, Aux]:
        if self.layer.n_experts:
            return MoE(self.cfg, self.layer, name="moe")(x_BTD, context.places.segments_BT)
        return MLP(self.cfg, self.layer.mlp, name="mlp")(x_BTD), {}

    def _read(self, x_BTD: jax.Array, name: str) -> jax.Array:
        """Norms what a branch reads, where the placement says so."""
        return Norm(self.cfg, name=name)(x_BTD) if self.cfg.norm_placement in ("pre", "sandwich") else x_BTD

    def _add(
        self, x: jax.Array, branch_BTD: jax.Array, links: Plain | Weighted, context: Context, branch: str, *, site: int
    ) -> jax.Array:
        """Adds a branch to the stream, with the norm that stands behind it, if any."""
        c, name = self.cfg, f"{branch}_post_norm"
        if c.norm_placement in ("output", "sandwich"):
            branch_BTD = Norm(c, name=name)(branch_BTD)
        x = links.write(x, dropout(c.residual_scale * branch_BTD, c.dropout, context, site))
        return Norm(c, name=name)(x) if c.norm_placement == "post" else x
