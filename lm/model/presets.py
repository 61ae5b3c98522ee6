"""Published architectures by name, as their model cards and papers give them.

A preset is a whole `ModelConfig`: vocabulary and context are the published ones, and how it is computed (dtype,
rematerialisation, attention's backend) is left at the defaults. Of models that also see, it is the language model.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

from lm.common.errors import UserError
from lm.model.config import ModelConfig

Keys = Mapping[str, Any]


def names() -> tuple[str, ...]:
    """Returns the name of every preset."""
    return tuple(PRESETS)


def get(name: str) -> ModelConfig:
    """Returns the architecture that `name` stands for.

    Raises:
        UserError: no preset of that name; the nearest is named.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "all stand in lm.model.presets, such as gpt2-124m"
        raise UserError(f"preset {name!r}: not known; {hint}")
    return ModelConfig.from_dict(PRESETS[name])


def _keys(*bases: Keys, **keys: Any) -> Keys:
    """Returns the keys of several together; what comes later wins."""
    merged: dict[str, Any] = {}
    for base in (*bases, keys):
        merged.update(base)
    return merged


def _shape(
    family: Keys,
    n_layers: int,
    d_model: int,
    n_heads: int,
    n_kv_heads: int,
    d_ff: int,
    *,
    head_width: int = 0,
    **more: Any,
) -> Keys:
    """Returns one model of a family; a head is as wide as the width over the heads, where it is not given."""
    width = head_width or d_model // n_heads
    shape = _keys(n_layers=n_layers, d_model=d_model, n_heads=n_heads, n_kv_heads=n_kv_heads, d_ff=d_ff)
    return _keys(family, shape, more, head_width=width)


def _gemma(family: Keys, n_layers: int, d_model: int, *heads: int, head_width: int = 256, **more: Any) -> Keys:
    """Returns a Gemma, whose embedding is scaled by the root of the width."""
    scale = math.sqrt(d_model)
    return _shape(family, n_layers, d_model, *heads, head_width=head_width, embedding_scale=scale, **more)


# Vaswani et al. (2017), the base model's decoder without its encoder: biases in the feed-forward layers and the norms.
TRANSFORMER_2017 = _keys(
    vocab_size=37_000,
    max_seq_len=512,
    mlp="relu",
    mlp_bias=True,
    dropout=0.1,
    norm="layer",
    norm_bias=True,
    norm_epsilon=1e-6,
    norm_placement="post",
    final_norm=False,
    position="none",
    position_embedding="sinusoidal",
    embedding_scale=math.sqrt(512),
)

# Radford et al. (2019)
GPT2 = _keys(
    vocab_size=50_257,
    max_seq_len=1024,
    mlp="gelu_tanh",
    mlp_bias=True,
    qkv_bias=True,
    o_bias=True,
    norm="layer",
    norm_bias=True,
    norm_epsilon=1e-5,
    position="none",
    position_embedding="learned",
)

# Touvron et al. (2023); Grattafiori et al. (2024)
LLAMA2 = _keys(vocab_size=32_000, max_seq_len=4096, norm_epsilon=1e-5, tie_embeddings=False)
LLAMA3 = _keys(LLAMA2, vocab_size=128_256, max_seq_len=8192, rope={"theta": 500_000.0})
LLAMA31 = _keys(
    LLAMA3, max_seq_len=131_072, rope={"theta": 500_000.0, "scaling": "llama3", "factor": 8.0, "original_len": 8192}
)
LLAMA32 = _keys(LLAMA31, rope={**LLAMA31["rope"], "factor": 32.0}, tie_embeddings=True)

# Jiang et al. (2023)
MISTRAL = _keys(vocab_size=32_000, max_seq_len=32_768, norm_epsilon=1e-5, tie_embeddings=False)

# Qwen Team (2024, 2025)
QWEN25 = _keys(vocab_size=151_936, max_seq_len=32_768, qkv_bias=True, rope={"theta": 1e6})
QWEN25_LARGE = _keys(QWEN25, vocab_size=152_064, max_seq_len=131_072, tie_embeddings=False)
QWEN3 = _keys(vocab_size=151_936, max_seq_len=40_960, qk_norm="head", rope={"theta": 1e6})

# Gemma Team (2024, 2025)
GEMMA2 = _keys(
    vocab_size=256_000,
    max_seq_len=8192,
    mlp="geglu_tanh",
    norm_scale="one_plus",
    norm_placement="sandwich",
    window=(4096, 0),
    attention_softcap=50.0,
    logit_softcap=30.0,
)
GEMMA3_SMALL = _keys(
    vocab_size=262_144,
    max_seq_len=32_768,
    mlp="geglu_tanh",
    norm_scale="one_plus",
    norm_placement="sandwich",
    qk_norm="head",
    window=(*5 * (512,), 0),
    rope={"theta": (*5 * (10_000.0,), 1e6)},
)
GEMMA3 = _keys(
    GEMMA3_SMALL,
    vocab_size=262_208,
    max_seq_len=131_072,
    window=(*5 * (1024,), 0),
    rope={"theta": (*5 * (10_000.0,), 1e6), "scaling": "linear", "factor": (*5 * (1.0,), 8.0)},
)

# OLMo Team (2025)
OLMO2 = _keys(
    vocab_size=100_352,
    max_seq_len=4096,
    norm_placement="output",
    qk_norm="full",
    rope={"theta": 500_000.0},
    tie_embeddings=False,
)

# Javaheripi et al. (2023); Abdin et al. (2024)
PHI2 = _keys(
    vocab_size=51_200,
    max_seq_len=2048,
    mlp="gelu_tanh",
    mlp_bias=True,
    residual="parallel_shared",
    qkv_bias=True,
    o_bias=True,
    norm="layer",
    norm_bias=True,
    norm_epsilon=1e-5,
    rope={"fraction": 0.4},
    tie_embeddings=False,
    head_bias=True,
)
PHI3 = _keys(vocab_size=32_064, max_seq_len=4096, window=2047, norm_epsilon=1e-5, tie_embeddings=False)
PHI4 = _keys(vocab_size=100_352, max_seq_len=16_384, norm_epsilon=1e-5, tie_embeddings=False, rope={"theta": 250_000.0})

# Ben Allal et al. (2025); Bakouch et al. (2025), which leaves every fourth layer without positions
SMOLLM2 = _keys(vocab_size=49_152, max_seq_len=8192, norm_epsilon=1e-5, rope={"theta": 100_000.0})
SMOLLM3 = _keys(vocab_size=128_256, max_seq_len=65_536, position=("rope", "rope", "rope", "none"), rope={"theta": 5e6})

# Jiang et al. (2024); Qwen Team (2025); OpenAI (2025)
MIXTRAL = _keys(MISTRAL, rope={"theta": 1e6}, moe={"n_experts": 8, "top_k": 2})
QWEN3_MOE = _keys(QWEN3, moe={"n_experts": 128, "top_k": 8, "d_ff": 768}, tie_embeddings=False)
GPT_OSS = _keys(
    vocab_size=201_088,
    max_seq_len=131_072,
    norm_epsilon=1e-5,
    mlp="swiglu_clamped",
    mlp_bias=True,
    window=(128, 0),
    qkv_bias=True,
    o_bias=True,
    attention_sinks=True,
    rope={"theta": 150_000.0, "scaling": "yarn", "factor": 32.0, "original_len": 4096, "truncate": False},
    tie_embeddings=False,
)

# DeepSeek-AI (2024): as YaRN stretches scores by a factor of its own, cosines and sines keep their length
DEEPSEEK_V2 = _keys(
    vocab_size=102_400,
    max_seq_len=163_840,
    mixer="latent",
    moe={"n_experts": 64, "top_k": 6, "d_ff": 1408, "shared_d_ff": 2816, "first_dense": 1, "normalise": False},
    latent={"kv_rank": 512, "rope_width": 64, "value_width": 128},
    attention_scale=(1 + 0.1 * 0.707 * math.log(40)) ** 2 / math.sqrt(128 + 64),
    rope={"scaling": "yarn", "factor": 40.0, "original_len": 4096, "attention_factor": 1.0},
    tie_embeddings=False,
)

# Zaremba et al. (2014), with a residual connection around each layer; Gu & Dao (2023)
LSTM = _keys(
    vocab_size=10_000,
    max_seq_len=35,
    mixer="lstm",
    mlp="none",
    norm="none",
    dropout=0.65,
    tie_embeddings=False,
    head_bias=True,
)
MAMBA = _keys(vocab_size=50_280, max_seq_len=2048, mixer="ssm", mlp="none", norm_epsilon=1e-5)

PRESETS: dict[str, Keys] = {
    "transformer-2017": _shape(TRANSFORMER_2017, 6, 512, 8, 8, 2048),
    "gpt2-124m": _shape(GPT2, 12, 768, 12, 12, 3072),
    "gpt2-355m": _shape(GPT2, 24, 1024, 16, 16, 4096),
    "gpt2-774m": _shape(GPT2, 36, 1280, 20, 20, 5120),
    "gpt2-1.5b": _shape(GPT2, 48, 1600, 25, 25, 6400),
    "llama2-7b": _shape(LLAMA2, 32, 4096, 32, 32, 11_008),
    "llama2-13b": _shape(LLAMA2, 40, 5120, 40, 40, 13_824),
    "llama2-70b": _shape(LLAMA2, 80, 8192, 64, 8, 28_672),
    "llama3-8b": _shape(LLAMA3, 32, 4096, 32, 8, 14_336),
    "llama3-70b": _shape(LLAMA3, 80, 8192, 64, 8, 28_672),
    "llama3.1-8b": _shape(LLAMA31, 32, 4096, 32, 8, 14_336),
    "llama3.1-70b": _shape(LLAMA31, 80, 8192, 64, 8, 28_672),
    "llama3.1-405b": _shape(LLAMA31, 126, 16_384, 128, 8, 53_248),
    "llama3.2-1b": _shape(LLAMA32, 16, 2048, 32, 8, 8192),
    "llama3.2-3b": _shape(LLAMA32, 28, 3072, 24, 8, 8192),
    "mistral-7b": _shape(MISTRAL, 32, 4096, 32, 8, 14_336, window=4096),
    "mistral-7b-v0.3": _shape(MISTRAL, 32, 4096, 32, 8, 14_336, vocab_size=32_768, rope={"theta": 1e6}),
    "qwen2.5-0.5b": _shape(QWEN25, 24, 896, 14, 2, 4864),
    "qwen2.5-1.5b": _shape(QWEN25, 28, 1536, 12, 2, 8960, max_seq_len=131_072),
    "qwen2.5-3b": _shape(QWEN25, 36, 2048, 16, 2, 11_008),
    "qwen2.5-7b": _shape(QWEN25_LARGE, 28, 3584, 28, 4, 18_944),
    "qwen2.5-14b": _shape(QWEN25_LARGE, 48, 5120, 40, 8, 13_824, norm_epsilon=1e-5),
    "qwen2.5-32b": _shape(QWEN25_LARGE, 64, 5120, 40, 8, 27_648, norm_epsilon=1e-5),
    "qwen2.5-72b": _shape(QWEN25_LARGE, 80, 8192, 64, 8, 29_568, norm_epsilon=1e-5),
    "qwen3-0.6b": _shape(QWEN3, 28, 1024, 16, 8, 3072, head_width=128),
    "qwen3-1.7b": _shape(QWEN3, 28, 2048, 16, 8, 6144),
    "qwen3-4b": _shape(QWEN3, 36, 2560, 32, 8, 9728, head_width=128),
    "qwen3-8b": _shape(QWEN3, 36, 4096, 32, 8, 12_288, tie_embeddings=False),
    "qwen3-14b": _shape(QWEN3, 40, 5120, 40, 8, 17_408, tie_embeddings=False),
    "qwen3-32b": _shape(QWEN3, 64, 5120, 64, 8, 25_600, head_width=128, tie_embeddings=False),
    "gemma2-2b": _gemma(GEMMA2, 26, 2304, 8, 4, 9216),
    "gemma2-9b": _gemma(GEMMA2, 42, 3584, 16, 8, 14_336),
    "gemma2-27b": _gemma(GEMMA2, 46, 4608, 32, 16, 36_864, head_width=128, attention_scale=144**-0.5),
    "gemma3-270m": _gemma(GEMMA3_SMALL, 18, 640, 4, 1, 2048),
    "gemma3-1b": _gemma(GEMMA3_SMALL, 26, 1152, 4, 1, 6912),
    "gemma3-4b": _gemma(GEMMA3, 34, 2560, 8, 4, 10_240),
    "gemma3-12b": _gemma(GEMMA3, 48, 3840, 16, 8, 15_360),
    "gemma3-27b": _gemma(GEMMA3, 62, 5376, 32, 16, 21_504, head_width=128, attention_scale=168**-0.5),
    "olmo2-1b": _shape(OLMO2, 16, 2048, 16, 16, 8192),
    "olmo2-7b": _shape(OLMO2, 32, 4096, 32, 32, 11_008),
    "olmo2-13b": _shape(OLMO2, 40, 5120, 40, 40, 13_824),
    "olmo2-32b": _shape(OLMO2, 64, 5120, 40, 8, 27_648),
    "phi-2": _shape(PHI2, 32, 2560, 32, 32, 10_240),
    "phi-3-mini": _shape(PHI3, 32, 3072, 32, 32, 8192),
    "phi-4": _shape(PHI4, 40, 5120, 40, 10, 17_920),
    "smollm2-135m": _shape(SMOLLM2, 30, 576, 9, 3, 1536),
    "smollm2-360m": _shape(SMOLLM2, 32, 960, 15, 5, 2560),
    "smollm2-1.7b": _shape(SMOLLM2, 24, 2048, 32, 32, 8192, rope={"theta": 130_000.0}),
    "smollm3-3b": _shape(SMOLLM3, 36, 2048, 16, 4, 11_008),
    "mixtral-8x7b": _shape(MIXTRAL, 32, 4096, 32, 8, 14_336),
    "mixtral-8x22b": _shape(MIXTRAL, 56, 6144, 48, 8, 16_384, max_seq_len=65_536),
    "qwen3-30b-a3b": _shape(QWEN3_MOE, 48, 2048, 32, 4, 6144, head_width=128),
    "gpt-oss-20b": _shape(
        GPT_OSS, 24, 2880, 64, 8, 2880, head_width=64, moe={"n_experts": 32, "top_k": 4, "router_bias": True}
    ),
    "gpt-oss-120b": _shape(
        GPT_OSS, 36, 2880, 64, 8, 2880, head_width=64, moe={"n_experts": 128, "top_k": 4, "router_bias": True}
    ),
    "deepseek-v2-lite": _shape(DEEPSEEK_V2, 27, 2048, 16, 16, 10_944),
    "lstm": _shape(LSTM, 2, 1500, 1, 1, 1500),
    "mamba-130m": _shape(MAMBA, 24, 768, 1, 1, 768),
    "mamba-1.4b": _shape(MAMBA, 48, 2048, 1, 1, 2048),
    "mamba-2.8b": _shape(MAMBA, 64, 2560, 1, 1, 2560),
}
