"""Published architectures: parameters to the unit, as their model cards say and as Hugging Face's classes have them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from lm.common.errors import UserError
from lm.convert.hf.families import FAMILIES
from lm.convert.hf.settings import Settings
from lm.model import cost, presets

LLAMA_SHAPES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")


@dataclass(frozen=True)
class Published:
    """The number of parameters, and the config of Hugging Face's class that has them."""

    count: int
    kind: str
    config: dict[str, Any]


def of(count: int, kind: str, *shape: int, **more: Any) -> Published:
    """Returns what is published of a model whose config has the names of Llama's."""
    return Published(count, kind, {**dict(zip(LLAMA_SHAPES, shape, strict=True)), **more})


def gpt2(count: int, **config: int) -> Published:
    return Published(count, "GPT2", config)


def llama3(count: int, *shape: int, tied: bool = False) -> Published:
    return of(count, "Llama", *shape, vocab_size=128_256, tie_word_embeddings=tied)


def qwen(count: int, kind: str, *shape: int, vocab_size: int = 151_936, tied: bool = False, **more: Any) -> Published:
    return of(count, kind, *shape, vocab_size=vocab_size, tie_word_embeddings=tied, **more)


def gemma(count: int, kind: str, *shape: int, head_dim: int = 256, **more: Any) -> Published:
    return of(count, kind, *shape, head_dim=head_dim, **more)


def olmo2(count: int, *shape: int) -> Published:
    return of(count, "Olmo2", *shape, vocab_size=100_352, tie_word_embeddings=False)


def smollm2(count: int, *shape: int) -> Published:
    return of(count, "Llama", *shape, vocab_size=49_152, tie_word_embeddings=True)


def mamba(count: int, width: int, layers: int) -> Published:
    return Published(count, "Mamba", {"hidden_size": width, "num_hidden_layers": layers, "vocab_size": 50_280})


DEEPSEEK_V2_LITE = {
    "vocab_size": 102_400, "moe_intermediate_size": 1408, "n_routed_experts": 64, "n_shared_experts": 2,
    "num_experts_per_tok": 6, "first_k_dense_replace": 1, "q_lora_rank": None, "kv_lora_rank": 512,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
}  # fmt: skip

QWEN3_30B = {"moe_intermediate_size": 768, "norm_topk_prob": True}

PUBLISHED = {
    "gpt2-124m": gpt2(124_439_808),
    "gpt2-355m": gpt2(354_823_168, n_layer=24, n_embd=1024, n_head=16),
    "gpt2-774m": gpt2(774_030_080, n_layer=36, n_embd=1280, n_head=20),
    "gpt2-1.5b": gpt2(1_557_611_200, n_layer=48, n_embd=1600, n_head=25),
    "llama2-7b": of(6_738_415_616, "Llama", 4096, 11_008, 32, 32, 32),
    "llama2-13b": of(13_015_864_320, "Llama", 5120, 13_824, 40, 40, 40),
    "llama2-70b": of(68_976_648_192, "Llama", 8192, 28_672, 80, 64, 8),
    "llama3-8b": llama3(8_030_261_248, 4096, 14_336, 32, 32, 8),
    "llama3-70b": llama3(70_553_706_496, 8192, 28_672, 80, 64, 8),
    "llama3.1-8b": llama3(8_030_261_248, 4096, 14_336, 32, 32, 8),
    "llama3.1-70b": llama3(70_553_706_496, 8192, 28_672, 80, 64, 8),
    "llama3.1-405b": llama3(405_853_388_800, 16_384, 53_248, 126, 128, 8),
    "llama3.2-1b": llama3(1_235_814_400, 2048, 8192, 16, 32, 8, tied=True),
    "llama3.2-3b": llama3(3_212_749_824, 3072, 8192, 28, 24, 8, tied=True),
    "mistral-7b": of(7_241_732_096, "Mistral", 4096, 14_336, 32, 32, 8, vocab_size=32_000),
    "mistral-7b-v0.3": of(7_248_023_552, "Mistral", 4096, 14_336, 32, 32, 8, vocab_size=32_768),
    "qwen2.5-0.5b": qwen(494_032_768, "Qwen2", 896, 4864, 24, 14, 2, tied=True),
    "qwen2.5-1.5b": qwen(1_543_714_304, "Qwen2", 1536, 8960, 28, 12, 2, tied=True),
    "qwen2.5-3b": qwen(3_085_938_688, "Qwen2", 2048, 11_008, 36, 16, 2, tied=True),
    "qwen2.5-7b": qwen(7_615_616_512, "Qwen2", 3584, 18_944, 28, 28, 4, vocab_size=152_064),
    "qwen2.5-14b": qwen(14_770_033_664, "Qwen2", 5120, 13_824, 48, 40, 8, vocab_size=152_064),
    "qwen2.5-32b": qwen(32_763_876_352, "Qwen2", 5120, 27_648, 64, 40, 8, vocab_size=152_064),
    "qwen2.5-72b": qwen(72_706_203_648, "Qwen2", 8192, 29_568, 80, 64, 8, vocab_size=152_064),
    "qwen3-0.6b": qwen(596_049_920, "Qwen3", 1024, 3072, 28, 16, 8, head_dim=128, tied=True),
    "qwen3-1.7b": qwen(1_720_574_976, "Qwen3", 2048, 6144, 28, 16, 8, head_dim=128, tied=True),
    "qwen3-4b": qwen(4_022_468_096, "Qwen3", 2560, 9728, 36, 32, 8, head_dim=128, tied=True),
    "qwen3-8b": qwen(8_190_735_360, "Qwen3", 4096, 12_288, 36, 32, 8, head_dim=128),
    "qwen3-14b": qwen(14_768_307_200, "Qwen3", 5120, 17_408, 40, 40, 8, head_dim=128),
    "qwen3-32b": qwen(32_762_123_264, "Qwen3", 5120, 25_600, 64, 64, 8, head_dim=128),
    "gemma2-2b": gemma(2_614_341_888, "Gemma2", 2304, 9216, 26, 8, 4),
    "gemma2-9b": gemma(9_241_705_984, "Gemma2", 3584, 14_336, 42, 16, 8),
    "gemma2-27b": gemma(27_227_128_320, "Gemma2", 4608, 36_864, 46, 32, 16, head_dim=128),
    "gemma3-270m": gemma(268_098_176, "Gemma3Text", 640, 2048, 18, 4, 1, vocab_size=262_144),
    "gemma3-1b": gemma(999_885_952, "Gemma3Text", 1152, 6912, 26, 4, 1, vocab_size=262_144),
    "gemma3-4b": gemma(3_880_263_168, "Gemma3Text", 2560, 10_240, 34, 8, 4, vocab_size=262_208),
    "gemma3-12b": gemma(11_766_034_176, "Gemma3Text", 3840, 15_360, 48, 16, 8, vocab_size=262_208),
    "gemma3-27b": gemma(27_009_346_304, "Gemma3Text", 5376, 21_504, 62, 32, 16, head_dim=128, vocab_size=262_208),
    "olmo2-1b": olmo2(1_484_916_736, 2048, 8192, 16, 16, 16),
    "olmo2-7b": olmo2(7_298_617_344, 4096, 11_008, 32, 32, 32),
    "olmo2-13b": olmo2(13_716_198_400, 5120, 13_824, 40, 40, 40),
    "olmo2-32b": olmo2(32_234_279_936, 5120, 27_648, 64, 40, 8),
    "phi-2": of(2_779_683_840, "Phi", 2560, 10_240, 32, 32, 32, vocab_size=51_200),
    "phi-3-mini": of(3_821_079_552, "Phi3", 3072, 8192, 32, 32, 32, vocab_size=32_064),
    "phi-4": of(14_659_507_200, "Phi3", 5120, 17_920, 40, 40, 10, vocab_size=100_352, pad_token_id=0),
    "smollm2-135m": smollm2(134_515_008, 576, 1536, 30, 9, 3),
    "smollm2-360m": smollm2(361_821_120, 960, 2560, 32, 15, 5),
    "smollm2-1.7b": smollm2(1_711_376_384, 2048, 8192, 24, 32, 32),
    "smollm3-3b": of(3_075_098_624, "SmolLM3", 2048, 11_008, 36, 16, 4, vocab_size=128_256),
    "mixtral-8x7b": of(46_702_792_704, "Mixtral", 4096, 14_336, 32, 32, 8),
    "mixtral-8x22b": of(140_620_634_112, "Mixtral", 6144, 16_384, 56, 48, 8),
    "qwen3-30b-a3b": qwen(30_532_122_624, "Qwen3Moe", 2048, 6144, 48, 32, 4, head_dim=128, **QWEN3_30B),
    "gpt-oss-20b": Published(20_914_757_184, "GptOss", {"num_hidden_layers": 24, "num_local_experts": 32}),
    "gpt-oss-120b": Published(116_829_156_672, "GptOss", {}),
    "deepseek-v2-lite": of(15_706_484_224, "DeepseekV2", 2048, 10_944, 27, 16, 16, **DEEPSEEK_V2_LITE),
    "mamba-130m": mamba(129_135_360, 768, 24),
    "mamba-1.4b": mamba(1_372_178_432, 2048, 48),
    "mamba-2.8b": mamba(2_768_345_600, 2560, 64),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_number(name: str) -> None:
    assert cost.n_params(presets.get(name)) == PUBLISHED[name].count


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_those_of_hugging_faces_class(name: str) -> None:
    """Built on the meta device, from its own config and with nothing allocated."""
    import torch
    import transformers

    published = PUBLISHED[name]
    config = getattr(transformers, f"{published.kind}Config")(**published.config)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    assert sum(parameter.numel() for parameter in model.parameters()) == published.count


# Numbers of a model card that the class's defaults, and so the configs above, are not to be asked for.
OF_THE_CARD = ("max_seq_len", "norm_epsilon", "rope", "window", "attention_scale", "recurrent")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_architecture_is_what_an_import_of_their_config_makes(name: str) -> None:
    import transformers

    published = PUBLISHED[name]
    config = getattr(transformers, f"{published.kind}Config")(**published.config)
    family = next(family for family in FAMILIES if family.model_type == config.model_type)
    theirs, ours = family.read_config(Settings(config.to_dict())), presets.get(name)
    assert ours == replace(theirs, **{key: getattr(ours, key) for key in OF_THE_CARD})


def test_every_preset_is_checked() -> None:
    ours = {"transformer-2017", "lstm"}  # no weights were ever published
    assert set(presets.names()) == PUBLISHED.keys() | ours


def test_the_transformer_of_2017_by_hand() -> None:
    """Six layers of attention without biases, two layers with, and two norms, over one table."""
    attention, feed_forward, norms = 4 * 512 * 512, 2 * 512 * 2048 + 2048 + 512, 2 * 2 * 512
    assert cost.n_params(presets.get("transformer-2017")) == 37_000 * 512 + 6 * (attention + feed_forward + norms)


def test_the_lstm_by_hand() -> None:
    """Two layers of four gates that read the input and the state, with a bias for each, between table and head."""
    layer = 2 * (4 * 1500 * 1500 + 4 * 1500)
    assert cost.n_params(presets.get("lstm")) == 10_000 * 1500 + 2 * layer + 10_000 * 1500 + 10_000


@pytest.mark.parametrize(
    ("name", "active"),
    [
        ("mixtral-8x7b", 12.9e9),
        ("qwen3-30b-a3b", 3.3e9),
        ("gpt-oss-20b", 3.6e9 + 201_088 * 2880),  # whose card leaves the input's table out
    ],
)
def test_experts_that_a_token_does_not_meet_are_not_active(name: str, active: float) -> None:
    assert cost.n_active_params(presets.get(name)) == pytest.approx(active, rel=0.02)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"preset 'llama3-8B': not known; did you mean llama3-8b\?"):
        presets.get("llama3-8B")
    with pytest.raises(
        UserError, match=r"preset 'xyzzy': not known; all stand in lm.model.presets, such as gpt2-124m$"
    ):
        presets.get("xyzzy")
