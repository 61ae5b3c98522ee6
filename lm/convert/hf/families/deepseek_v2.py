"""DeepSeek-V2 and V2-Lite (DeepSeek-AI, 2024a): latent attention, and experts above a few layers without."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lm.convert.hf import rope
from lm.convert.hf.codecs import Ours, by_head, copy, fused, halves, linear, reordered
from lm.convert.hf.families.experts import DENSE, EXPERTS, gated, routes
from lm.convert.hf.families.llama import ENDS, NORMS, has_o_bias, has_qkv_bias, read_body, write_body
from lm.convert.hf.families.parts import read_biases, write_biases
from lm.convert.hf.settings import Settings
from lm.convert.hf.table import Entry, Family
from lm.model.config import Latent, Layer, ModelConfig, Moe

NORM_EPSILON = 1e-6  # of the latents' norms, whatever `rms_norm_eps` says of the others'


def _order(one: Ours, cfg: ModelConfig) -> np.ndarray:
    """Returns where our numbers of a head stand there: the rotated ones last on both sides, neighbours in pairs."""
    rotates = one.name.split(".")[-2] in ("q", "q_up", "k_shared")
    rotated = cfg.latent.rope_width if rotates else 0
    start = one.shape[-1] - rotated
    return np.concatenate([np.arange(start), start + halves(rotated)])


rotated_last = reordered("rotated last", linear, _order)


def _has_full_queries(cfg: ModelConfig, layer: Layer | None) -> bool:
    return cfg.latent.q_rank == 0


def _has_latent_queries(cfg: ModelConfig, layer: Layer | None) -> bool:
    return cfg.latent.q_rank > 0


def _has_latent_bias(cfg: ModelConfig, layer: Layer | None) -> bool:
    return cfg.latent.q_rank > 0 and cfg.qkv_bias


def _is_balanced(cfg: ModelConfig, layer: Layer | None) -> bool:
    return routes(cfg, layer) and cfg.moe.balance == "bias"


_THEIRS, _OURS = "model.layers.{i}.self_attn.", "layers.{i}.mixer."
_COMPRESSED = ("kv_down", "k_shared")
LATENT = (
    Entry(f"{_THEIRS}q_proj.weight", f"{_OURS}q.kernel", rotated_last, _has_full_queries),
    Entry(f"{_THEIRS}q_a_proj.weight", f"{_OURS}q_down.kernel", when=_has_latent_queries),
    Entry(f"{_THEIRS}q_a_proj.bias", f"{_OURS}q_down.bias", when=_has_latent_bias),
    Entry(f"{_THEIRS}q_a_layernorm.weight", f"{_OURS}q_latent_norm.scale", when=_has_latent_queries),
    Entry(f"{_THEIRS}q_b_proj.weight", f"{_OURS}q_up.kernel", rotated_last, _has_latent_queries),
    Entry(
        f"{_THEIRS}kv_a_proj_with_mqa.weight",
        tuple(f"{_OURS}{name}.kernel" for name in _COMPRESSED),
        fused(rotated_last),
    ),
    Entry(
        f"{_THEIRS}kv_a_proj_with_mqa.bias",
        tuple(f"{_OURS}{name}.bias" for name in _COMPRESSED),
        fused(rotated_last),
        has_qkv_bias,
    ),
    Entry(f"{_THEIRS}kv_a_layernorm.weight", f"{_OURS}kv_latent_norm.scale"),
    Entry(f"{_THEIRS}kv_b_proj.weight", (f"{_OURS}k_up.kernel", f"{_OURS}v_up.kernel"), by_head),
    Entry(f"{_THEIRS}o_proj.weight", f"{_OURS}o.kernel"),
    Entry(f"{_THEIRS}o_proj.bias", f"{_OURS}o.bias", when=has_o_bias),
)


FEED_FORWARD = (
    *DENSE,
    *EXPERTS,
    *gated("mlp.shared_experts.", "moe.shared."),
    Entry("model.layers.{i}.mlp.gate.e_score_correction_bias", "layers.{i}.moe.router.balance", copy, _is_balanced),
)
ENTRIES = (*ENDS, *NORMS, *LATENT, *FEED_FORWARD)


def read_latent(settings: Settings) -> dict[str, Any]:
    """Reads all but the experts, and returns it under our names.

    Raises:
        UserError: a feature that ours does not have.
    """
    body = read_body(settings)
    content, rotated = settings.integer("qk_nope_head_dim", least=1), settings.integer("qk_rope_head_dim", least=1)
    settings.drop("qk_head_dim")
    epsilon, scale = body["norm_epsilon"], _read_scale(settings)
    return {
        **body,
        **read_biases(settings),
        "head_width": content,
        "mixer": "latent",
        "latent": Latent(
            q_rank=settings.integer("q_lora_rank", 0),
            kv_rank=settings.integer("kv_lora_rank"),
            rope_width=rotated,
            value_width=settings.integer("v_head_dim"),
            norm_epsilon=0.0 if epsilon == NORM_EPSILON else NORM_EPSILON,
        ),
        "attention_scale": 0.0 if scale == 1.0 else scale / math.sqrt(content + rotated),
    }


def _read_scale(settings: Settings) -> float:
    """Returns the factor on scores that comes with stretched positions."""
    stretch = rope.keys(settings)
    if rope.kind(stretch) != "yarn" or not (weight := stretch.number("mscale_all_dim", 0.0)):
        return 1.0
    return rope.spread(stretch.number("factor", positive=True), weight) ** 2


def write_latent(cfg: ModelConfig) -> dict[str, Any]:
    """Returns the keys that `read_latent` reads."""
    body = write_body(cfg)
    if body["rope_scaling"] and cfg.attention_scale:
        body["rope_scaling"] |= _write_scale(cfg)
    return {
        **body,
        **write_biases(cfg),
        "head_dim": cfg.latent.rope_width,
        "qk_nope_head_dim": cfg.head_width,
        "qk_rope_head_dim": cfg.latent.rope_width,
        "v_head_dim": cfg.latent.value_width or cfg.head_width,
        "q_lora_rank": cfg.latent.q_rank or None,
        "kv_lora_rank": cfg.latent.kv_rank,
    }


def _write_scale(cfg: ModelConfig) -> dict[str, Any]:
    """Returns the weights that say how scores and rotations are scaled; rounded, for they are short numbers."""
    factor = cfg.layers[0].factor
    scale = cfg.attention_scale * math.sqrt(cfg.head_width + cfg.latent.rope_width)
    if factor <= 1 or cfg.rope.scaling != "yarn":
        return {}
    weight = round((math.sqrt(scale) - 1.0) / (0.1 * math.log(factor)), 9)
    return {"mscale_all_dim": weight} | ({"mscale": weight} if cfg.rope.attention_factor == 1.0 else {})


def read_experts(settings: Settings, n_layers: int, **values: Any) -> Moe:
    """Reads the sizes of the experts; `values` are the family's way to route.

    Raises:
        UserError: as `read_latent`.
    """
    first_dense = settings.integer("first_k_dense_replace", 0)
    settings.expect("moe_layer_freq", 1)
    settings.drop("ep_size", "aux_loss_alpha", "seq_aux", "output_router_logits", "router_aux_loss_coef")
    n_experts, width = settings.integer("n_routed_experts", 0), settings.integer("moe_intermediate_size", 0)
    top_k, shared = settings.integer("num_experts_per_tok", 0), settings.integer("n_shared_experts", 0)
    weight_scale = settings.number("routed_scaling_factor", 1.0)
    if first_dense >= n_layers:
        return Moe()
    for key, value in {
        "n_routed_experts": n_experts,
        "moe_intermediate_size": width,
        "n_shared_experts": shared,
    }.items():
        if not value:
            raise settings.refusal(key, value, f"layers from first_k_dense_replace={first_dense} on need at least 1")
    return Moe(
        n_experts=n_experts,
        top_k=top_k,
        d_ff=width,
        shared_d_ff=shared * width,
        first_dense=first_dense,
        weight_scale=weight_scale,
        **values,
    )


def read_groups(settings: Settings) -> dict[str, int]:
    """Reads the numbers of groups of experts, and of those that a token may choose from."""
    groups, chosen = settings.integer("n_group", 1), settings.integer("topk_group", 1)
    return {"n_groups": groups, "top_groups": chosen} if 1 <= chosen < groups else {}


def write_experts(cfg: ModelConfig) -> dict[str, Any]:
    """Returns the keys that `read_experts` and `read_groups` read; without experts all layers are dense."""
    moe, n_experts = cfg.moe, cfg.layers[-1].n_experts
    if not n_experts:
        return {"first_k_dense_replace": cfg.n_layers}
    width = moe.d_ff or cfg.d_ff
    return {
        "first_k_dense_replace": moe.first_dense,
        "n_routed_experts": n_experts,
        "num_experts_per_tok": moe.top_k,
        "moe_intermediate_size": width,
        "n_shared_experts": moe.shared_d_ff // width,
        "routed_scaling_factor": moe.weight_scale,
        "n_group": moe.n_groups,
        "topk_group": moe.top_groups,
    }


def read_config(settings: Settings) -> ModelConfig:
    """Returns the architecture.

    Raises:
        UserError: a feature that ours does not have.
    """
    values = read_latent(settings)
    settings.expect("scoring_func", "softmax")
    settings.expect("norm_topk_prob", False)
    settings.expect("mlp_bias", False)
    grouped = settings.choice("topk_method", {"greedy": False, "group_limited_greedy": True}, "greedy")
    groups = read_groups(settings)
    moe = read_experts(settings, values["n_layers"], normalise=False, **(groups if grouped else {}))
    return ModelConfig(**values, moe=moe)


def write_config(cfg: ModelConfig) -> dict[str, Any]:
    """Returns their config."""
    return {
        **write_latent(cfg),
        **write_experts(cfg),
        "topk_method": "group_limited_greedy" if cfg.moe.n_groups > 1 else "greedy",
        "scoring_func": "softmax",
        "norm_topk_prob": False,
    }


FAMILY = Family(
    model_type="deepseek_v2",
    architecture="DeepseekV2ForCausalLM",
    entries=ENTRIES,
    read_config=read_config,
    write_config=write_config,
)
