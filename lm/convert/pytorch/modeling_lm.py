"""A decoder-only language model in plain PyTorch, as `config.json` beside this file describes it.

    model = AutoModelForCausalLM.from_pretrained(DIRECTORY, trust_remote_code=True)

It needs torch and transformers, nothing else, and is one file, to be read, copied and changed as one. Every
architecture is a value of one config: what a layer is follows from `LmConfig.layer`, and its parts are found by name in
two registries,

    MIXERS: what moves information between tokens. `Mixer(config, layer)(x_BTD, stream, context, cached)` returns the
            mixed `[B, T, D]`, the stream, and what it keeps of the tokens so far: a dict of tensors `[B, ...]`, such
            as keys and values, or a state. `cached` is None without a cache, and {} before the first token.
    MLPS:   what works on each token alone. `MLP(config, layer)(x_BTD)` returns `[B, T, D]`. (`MoE` stands in the place
            of one where a layer has experts.)

A new one is a class and its line in a registry; its keys stand in `ARCHITECTURE` with their defaults. Parameters that
are no `Linear` or `nn.Embedding` get their first values in the module's `initialise`.

Dims: B batch, T time, S time of keys, D width, F feed-forward units, H query heads, K key/value heads, N head width,
M value width, R rotated pairs, C channels of a recurrence, P residual streams before a branch and Q after it,
V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import can_return_tuple

# The config's keys and their defaults. Some are per layer: one value for all, or a list that repeats over them.
ARCHITECTURE: dict[str, Any] = {
    "vocab_size": None,
    "n_layers": None,
    "n_heads": None,
    "n_kv_heads": None,
    "d_model": None,
    "d_ff": None,
    "head_width": None,
    "max_seq_len": None,
    "mixer": "attention",
    "mlp": "swiglu",
    "mlp_bias": False,
    "moe": {
        "n_experts": 0,
        "top_k": 2,
        "d_ff": 0,
        "shared_d_ff": 0,
        "shared_gate": False,
        "first_dense": 0,
        "score": "softmax",
        "normalise": True,
        "weight_scale": 1.0,
        "n_groups": 1,
        "top_groups": 1,
        "group_score": "max",
        "router_bias": False,
        "capacity_factor": 0.0,
        "balance": "loss",
        "balance_weight": 0.01,
        "balance_rate": 0.001,
        "z_weight": 0.0,
    },
    "norm": "rms",
    "norm_scale": "weight",
    "norm_bias": False,
    "norm_epsilon": 1e-6,
    "norm_placement": "pre",
    "final_norm": True,
    "residual": "sequential",
    "residual_scale": 1.0,
    "hyper_streams": 1,
    "hyper_dynamic": False,
    "value_residual": False,
    "window": 0,
    "latent": {"q_rank": 0, "kv_rank": 0, "rope_width": 0, "value_width": 0, "norm_epsilon": 0.0},
    "recurrent": {"width": 0, "conv_width": 4, "blocks": 0, "state_width": 16, "step_rank": 0, "bias": False},
    "qkv_bias": False,
    "qkv_clip": 0.0,
    "o_bias": False,
    "qk_norm": "none",
    "attention_scale": 0.0,
    "attention_softcap": 0.0,
    "attention_sinks": False,
    "attention_gate": "none",
    "position": "rope",
    "position_embedding": "none",
    "rope": {
        "theta": 10_000.0,
        "fraction": 1.0,
        "scaling": "none",
        "factor": 1.0,
        "original_len": 0,
        "low_frequency_factor": 1.0,
        "high_frequency_factor": 4.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "attention_factor": 0.0,
        "truncate": True,
    },
    "embedding_scale": 1.0,
    "tie_embeddings": True,
    "head_bias": False,
    "logit_scale": 1.0,
    "logit_softcap": 0.0,
    "dropout": 0.0,
}


class Layer(NamedTuple):
    """What one layer is: its number, from 0, and the per-layer keys, resolved."""

    number: int
    mixer: str
    mlp: str
    window: int
    position: str
    theta: float
    factor: float
    n_experts: int


class LmConfig(PretrainedConfig):
    """The architecture; its keys are those of `ARCHITECTURE`, and the usual names stand for them too."""

    model_type = "lm"
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "intermediate_size": "d_ff",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "num_key_value_heads": "n_kv_heads",
        "head_dim": "head_width",
        "max_position_embeddings": "max_seq_len",
        "tie_word_embeddings": "tie_embeddings",
    }

    def __init__(self, **values: Any) -> None:
        values = {self.attribute_map.get(key, key): value for key, value in values.items()}
        super().__init__(**{key: value for key, value in values.items() if key not in ARCHITECTURE})
        for key, default in ARCHITECTURE.items():
            value = values.get(key, default)
            setattr(self, key, {**default, **value} if isinstance(default, dict) else value)

    def layer(self, number: int) -> Layer:
        """Returns what the layer with a number is, counted from 0."""

        def at(value: Any) -> Any:
            return value[number % len(value)] if isinstance(value, list | tuple) else value

        dense = number < self.moe["first_dense"] or at(self.mlp) == "none"
        return Layer(
            number=number,
            mixer=at(self.mixer),
            mlp=at(self.mlp),
            window=at(self.window),
            position=at(self.position),
            theta=at(self.rope["theta"]),
            factor=at(self.rope["factor"]),
            n_experts=0 if dense else at(self.moe["n_experts"]),
        )


class Places(NamedTuple):
    """Where tokens stand: document within the row (0 is padding) and position within the document, both `[B, T]`."""

    segments_BT: Tensor
    positions_BT: Tensor


class Context(NamedTuple):
    """What every layer is told beside its input: where its tokens stand, and where those stand that it may look at."""

    queries: Places
    keys: Places


class Stream(NamedTuple):
    """What one layer hands to the next: the residual stream, and what is told of it.

    `x` is `[B, T, D]`, or of several streams `[B, T, P, D]`; `first_v_BTKN` are the first layer's values, where they
    are reused; `penalty` is what routers add to the loss of all tokens so far.
    """

    x: Tensor
    first_v_BTKN: Tensor | None = None
    penalty: Tensor | None = None


Kept = dict[str, Tensor]


class LmCache:
    """What each layer's mixer keeps of the tokens so far, all with the batch in front, and where those stand."""

    is_compileable = False

    def __init__(self, n_layers: int) -> None:
        self.layers: list[Kept] = [{} for _ in range(n_layers)]
        self.places: Places | None = None

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Returns how many tokens of each row have been read, padding included."""
        return 0 if self.places is None else self.places.segments_BT.shape[1]

    def extend(self, new: Places) -> Places:
        """Returns where the tokens so far and the new ones stand."""
        return (
            new if self.places is None else Places(*(torch.cat(pair, 1) for pair in zip(self.places, new, strict=True)))
        )

    def batch_select_indices(self, rows: Tensor) -> None:
        """Keeps these rows of the batch, in this order."""
        self.layers = [{key: a.index_select(0, rows.to(a.device)) for key, a in kept.items()} for kept in self.layers]
        if self.places is not None:
            self.places = Places(*(a.index_select(0, rows.to(a.device)) for a in self.places))

    reorder_cache = batch_select_indices  # as beam search calls it

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeats each row of the batch."""
        if self.places is not None:
            rows = torch.arange(len(self.places.segments_BT), device=self.places.segments_BT.device)
            self.batch_select_indices(rows.repeat_interleave(repeats))


class Linear(nn.Linear):
    """A linear map that starts with variance 1 / inputs, and smaller by `depth` where it writes into the stream."""

    def __init__(self, inputs: int, outputs: int, bias: bool = False, *, depth: int = 1) -> None:
        super().__init__(inputs, outputs, bias)
        self.std = 1.0 / math.sqrt(inputs * depth)

    def initialise(self) -> None:
        nn.init.normal_(self.weight, std=self.std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Norm(nn.Module):
    """The norm that the config names (or `kind`), over dimensions of `shape`, in float32.

    `rms` is Zhang & Sennrich (2019), `layer` Ba et al. (2016), `tanh` the dynamic tanh of Zhu et al. (2025). Under
    `norm_scale=one_plus` the stored scale is what is added to 1.
    """

    def __init__(self, config: LmConfig, *shape: int, kind: str = "", epsilon: float = 0.0) -> None:
        super().__init__()
        self.kind, self.epsilon = kind or config.norm, epsilon or config.norm_epsilon
        self.axes, self.added = tuple(range(-len(shape), 0)), float(config.norm_scale == "one_plus")
        scaled, shifted = config.norm_scale != "none", config.norm_bias and self.kind != "rms"
        self.scale = nn.Parameter(torch.empty(shape)) if self.kind != "none" and scaled else None
        self.bias = nn.Parameter(torch.empty(shape)) if self.kind != "none" and shifted else None
        self.alpha = nn.Parameter(torch.empty(())) if self.kind == "tanh" else None

    def initialise(self) -> None:
        for parameter, value in ((self.scale, 1.0 - self.added), (self.bias, 0.0), (self.alpha, 0.5)):
            if parameter is not None:
                nn.init.constant_(parameter, value)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "none":
            return x
        y = x.float()
        if self.kind == "tanh":
            y = torch.tanh(self.alpha * y)
        else:
            if self.kind == "layer":
                y = y - y.mean(self.axes, keepdim=True)
            y = y * torch.rsqrt(y.square().mean(self.axes, keepdim=True) + self.epsilon)
        if self.scale is not None:
            y = y * (self.scale + self.added)
        if self.bias is not None:
            y = y + self.bias
        return y.to(x.dtype)


def relu2(x: Tensor) -> Tensor:
    """Squares what is positive (So et al., 2021)."""
    return F.relu(x).square()


def clamped_swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """Bounds both projections and lets the gate be near the identity where `up` is 0 (GPT-OSS, 2025)."""
    gate, up = gate.clamp(max=7.0), up.clamp(-7.0, 7.0)
    return gate * torch.sigmoid(1.702 * gate) * (up + 1.0)


class Kind(NamedTuple):
    """What the hidden units are: a function of two projections (gated; Shazeer, 2020), or of one alone."""

    units: Callable[..., Tensor]
    gated: bool


def gating(activation: Callable[[Tensor], Tensor]) -> Kind:
    """Returns the kind whose first projection, through `activation`, gates the second."""
    return Kind(lambda gate, up: activation(gate) * up, gated=True)


KINDS: dict[str, Kind] = {
    "swiglu": gating(F.silu),
    "swiglu_clamped": Kind(clamped_swiglu, gated=True),
    "geglu": gating(F.gelu),
    "geglu_tanh": gating(partial(F.gelu, approximate="tanh")),
    "reglu": gating(F.relu),
    "silu": Kind(F.silu, gated=False),
    "gelu": Kind(F.gelu, gated=False),
    "gelu_tanh": Kind(partial(F.gelu, approximate="tanh"), gated=False),
    "relu": Kind(F.relu, gated=False),
    "relu2": Kind(relu2, gated=False),
}


class MLP(nn.Module):
    """down(act(gate(x)) * up(x)) where gated, else down(act(up(x))); `width` is the model's if left out."""

    def __init__(self, config: LmConfig, layer: Layer, width: int = 0) -> None:
        super().__init__()
        c, width = config, width or config.d_ff
        self.units, gated = KINDS[layer.mlp]
        self.gate = Linear(c.d_model, width, c.mlp_bias) if gated else None
        self.up = Linear(c.d_model, width, c.mlp_bias)
        self.down = Linear(width, c.d_model, c.mlp_bias, depth=2 * c.n_layers)

    def forward(self, x_BTD: Tensor) -> Tensor:
        into = [self.up] if self.gate is None else [self.gate, self.up]
        return self.down(self.units(*(linear(x_BTD) for linear in into)))


TINY = 1e-20  # keeps a division by scores that are all 0 finite


class Routing(NamedTuple):
    """The experts of each token, best first, E for none, with float32 weights; and what they add to the loss."""

    chosen_BTK: Tensor
    weights_BTK: Tensor
    penalty: Tensor


class Router(nn.Module):
    """Scores every expert for every token in float32, and takes the best.

    `balance` is added to the scores where experts are chosen, not where they are weighted (Wang et al., 2024). It is
    no matter of gradients: training in PyTorch leaves it as it is.
    """

    def __init__(self, config: LmConfig, n_experts: int) -> None:
        super().__init__()
        self.moe, self.std = config.moe, 1.0 / math.sqrt(config.d_model)
        self.weight = nn.Parameter(torch.empty(n_experts, config.d_model))
        self.bias = nn.Parameter(torch.empty(n_experts)) if self.moe["router_bias"] else None
        balanced = self.moe["balance"] == "bias"
        self.balance = nn.Parameter(torch.empty(n_experts), requires_grad=False) if balanced else None

    def initialise(self) -> None:
        nn.init.normal_(self.weight, std=self.std)
        for parameter in (self.bias, self.balance):
            if parameter is not None:
                nn.init.zeros_(parameter)

    def forward(self, x_BTD: Tensor, segments_BT: Tensor) -> Routing:
        """Routes `[B, T, D]`; padding (segment 0) goes nowhere and counts for nothing."""
        moe, n_experts = self.moe, len(self.weight)
        logits_BTE = F.linear(x_BTD.float(), self.weight.float(), None if self.bias is None else self.bias.float())
        scores_BTE = logits_BTE.softmax(-1) if moe["score"] == "softmax" else logits_BTE.sigmoid()
        chosen_BTK = choose(scores_BTE if self.balance is None else scores_BTE + self.balance, moe)
        weights_BTK = scores_BTE.gather(-1, chosen_BTK)
        if moe["normalise"]:
            weights_BTK = weights_BTK / (weights_BTK.sum(-1, keepdim=True) + TINY)
        real_BT = segments_BT != 0
        chosen_BTK = chosen_BTK.masked_fill(~real_BT[..., None], n_experts)
        penalty = moe["z_weight"] * (logits_BTE.logsumexp(-1).square() * real_BT).sum()
        if moe["balance"] == "loss":
            penalty = penalty + moe["balance_weight"] * unevenness(scores_BTE, chosen_BTK, real_BT)
        return Routing(chosen_BTK, moe["weight_scale"] * weights_BTK, penalty)


def choose(ranks_BTE: Tensor, moe: dict[str, Any]) -> Tensor:
    """Returns the `top_k` experts that rank highest, `[B, T, K]`, the lower number first where two are equal.

    With groups, only those of the `top_groups` best groups, a group being as good as its best expert (DeepSeek-AI,
    2024a) or its best two together (2024b).
    """
    if moe["n_groups"] > 1:
        grouped_BTGE = ranks_BTE.unflatten(-1, (moe["n_groups"], -1))
        best_BTGE = grouped_BTGE.sort(-1, descending=True).values[..., : 1 if moe["group_score"] == "max" else 2]
        groups_BTK = _highest(best_BTGE.sum(-1), moe["top_groups"])
        allowed_BTG = torch.zeros_like(grouped_BTGE[..., 0], dtype=torch.bool).scatter(-1, groups_BTK, True)
        ranks_BTE = grouped_BTGE.masked_fill(~allowed_BTG[..., None], -math.inf).flatten(-2)
    return _highest(ranks_BTE, moe["top_k"])


def _highest(ranks: Tensor, count: int) -> Tensor:
    return ranks.sort(dim=-1, descending=True, stable=True).indices[..., :count]


def unevenness(scores_BTE: Tensor, chosen_BTK: Tensor, real_BT: Tensor) -> Tensor:
    """Returns E/K · Σ share chosen · mean score of each row (Fedus et al., 2022), for as many tokens as it has.

    It is 1 a token where either is even.
    """
    n_experts, top_k = scores_BTE.shape[-1], chosen_BTK.shape[-1]
    counts_BE = F.one_hot(chosen_BTK, n_experts + 1)[..., :-1].sum((1, 2))
    shares_BTE = scores_BTE / (scores_BTE.sum(-1, keepdim=True) + TINY)
    mass_BE = (shares_BTE * real_BT[..., None]).sum(1)
    return (n_experts / top_k * (counts_BE * mass_BE).sum(-1) / real_BT.sum(1).clamp(min=1)).sum()


class Expert(nn.Module):
    """One linear map of all experts."""

    def __init__(self, n_experts: int, inputs: int, outputs: int, bias: bool, *, depth: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_experts, outputs, inputs))
        self.bias = nn.Parameter(torch.empty(n_experts, outputs)) if bias else None
        self.std = 1.0 / math.sqrt(inputs * depth)

    def initialise(self) -> None:
        nn.init.normal_(self.weight, std=self.std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x_RI: Tensor, number: int) -> Tensor:
        """Maps the rows that go to one expert."""
        return F.linear(x_RI, self.weight[number], None if self.bias is None else self.bias[number])


class MoE(nn.Module):
    """The weighted sum of what a token's best few of many MLPs make of it, and of what a shared one does.

    (Shazeer et al., 2017; Dai et al., 2024.) With a capacity an expert takes so many tokens of a row, the first ones.
    """

    def __init__(self, config: LmConfig, layer: Layer) -> None:
        super().__init__()
        c, moe, n = config, config.moe, layer.n_experts
        self.moe, self.n_experts, width = moe, n, moe["d_ff"] or c.d_ff
        self.units, gated = KINDS[layer.mlp]
        self.router = Router(c, n)
        self.expert_gate = Expert(n, c.d_model, width, c.mlp_bias) if gated else None
        self.expert_up = Expert(n, c.d_model, width, c.mlp_bias)
        self.expert_down = Expert(n, width, c.d_model, c.mlp_bias, depth=2 * c.n_layers)
        self.shared = MLP(c, layer, moe["shared_d_ff"]) if moe["shared_d_ff"] else None
        self.shared_gate = Linear(c.d_model, 1) if moe["shared_gate"] else None

    def forward(self, x_BTD: Tensor, segments_BT: Tensor) -> tuple[Tensor, Tensor]:
        """Maps `[B, T, D]` to itself; returns also what the router adds to the loss."""
        routing = self.router(x_BTD, segments_BT)
        chosen_NK, weights_NK = (
            self._within_capacity(routing.chosen_BTK).flatten(0, 1),
            routing.weights_BTK.flatten(0, 1),
        )
        x_ND = x_BTD.flatten(0, 1)
        y_ND = torch.zeros_like(x_ND, dtype=torch.float32)
        for number in range(self.n_experts):
            rows_R, slots_R = (chosen_NK == number).nonzero(as_tuple=True)
            y_RD = self._expert(x_ND[rows_R], number).float() * weights_NK[rows_R, slots_R, None]
            y_ND = y_ND.index_add(0, rows_R, y_RD)
        y_BTD = y_ND.to(x_BTD.dtype).view_as(x_BTD)
        if self.shared is not None:
            shared_BTD = self.shared(x_BTD)
            y_BTD = y_BTD + (shared_BTD if self.shared_gate is None else self.shared_gate(x_BTD).sigmoid() * shared_BTD)
        return y_BTD, routing.penalty

    def _expert(self, x_RD: Tensor, number: int) -> Tensor:
        into = [self.expert_up] if self.expert_gate is None else [self.expert_gate, self.expert_up]
        return self.expert_down(self.units(*(linear(x_RD, number) for linear in into)), number)

    def _within_capacity(self, chosen_BTK: Tensor) -> Tensor:
        """Drops choices of an expert beyond so many even shares of a row; those tokens pass by on the stream."""
        if not self.moe["capacity_factor"]:
            return chosen_BTK
        even = chosen_BTK.shape[1] * chosen_BTK.shape[2] / self.n_experts
        size = max(1, math.ceil(self.moe["capacity_factor"] * even))
        chosen_BR = chosen_BTK.flatten(1)
        chosen_BRE = F.one_hot(chosen_BR, self.n_experts + 1)
        earlier_BR = ((chosen_BRE.cumsum(1) - 1) * chosen_BRE).sum(-1)
        return chosen_BR.masked_fill(earlier_BR >= size, self.n_experts).view_as(chosen_BTK)


def frequencies(rope: dict[str, Any], width: int, theta: float, factor: float) -> list[float]:
    """Returns the radians per position of each of `width / 2` pairs (Su et al., 2021), stretched by `factor`.

    `linear` divides all of them (Chen et al., 2023); `ntk` raises the base so that the slowest pair is divided and the
    fastest left alone (bloc97, 2023); `llama3` divides those whose wavelength exceeds the original context and blends
    (Grattafiori et al., 2024); `yarn` blends by rotations within the original context (Peng et al., 2023).
    """
    scaling = rope["scaling"]
    if scaling == "ntk":
        theta *= factor ** (width / max(width - 2, 1))
    base_R = [theta ** (-i / width) for i in range(0, width, 2)]
    kept_R = [0.0 if scaling == "linear" else 1.0] * len(base_R)  # the share of each that is not divided
    if scaling == "llama3":
        low, high = rope["low_frequency_factor"], rope["high_frequency_factor"]
        kept_R = [_clip((rope["original_len"] * f / (2 * math.pi) - low) / (high - low)) for f in base_R]
    if scaling == "yarn":
        low, high = (_pair_turning(rope[beta], rope, width, theta) for beta in ("beta_fast", "beta_slow"))
        if rope["truncate"]:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, width - 1)
        kept_R = [1.0 - _clip((i - low) / max(high - low, 1e-3)) for i in range(len(base_R))]
    return [kept * f + (1.0 - kept) * f / factor for kept, f in zip(kept_R, base_R, strict=True)]


def _clip(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def _pair_turning(turns: float, rope: dict[str, Any], width: int, theta: float) -> float:
    """Returns which pair makes so many full turns within the original context."""
    return width * math.log(rope["original_len"] / (turns * 2 * math.pi)) / (2 * math.log(theta))


class Rotation:
    """Turns each pair (i, i + R) of a head's first `width` numbers by its position; the rest pass unchanged."""

    def __init__(self, config: LmConfig, layer: Layer, width: int) -> None:
        rope = config.rope
        self.turns_R = frequencies(rope, width, layer.theta, layer.factor)
        self.magnitude = 1.0
        if rope["scaling"] == "yarn":
            stretched = 0.1 * math.log(layer.factor) + 1.0 if layer.factor > 1 else 1.0
            self.magnitude = rope["attention_factor"] or stretched

    def __call__(self, positions_BT: Tensor, *heads: Tensor) -> list[Tensor]:
        """Turns each `[B, T, H, N]`, by angles in float32."""
        turns_R = torch.tensor(self.turns_R, dtype=torch.float32, device=positions_BT.device)
        angle_BT1R = positions_BT[:, :, None, None].float() * turns_R
        cos, sin = self.magnitude * angle_BT1R.cos(), self.magnitude * angle_BT1R.sin()
        turned = []
        for x_BTHN in heads:
            a, b, rest = x_BTHN.split([len(turns_R), len(turns_R), x_BTHN.shape[-1] - 2 * len(turns_R)], dim=-1)
            pair = torch.cat([a.float() * cos - b.float() * sin, b.float() * cos + a.float() * sin], dim=-1)
            turned.append(torch.cat([pair.to(rest.dtype), rest], dim=-1))
        return turned


def alibi_slopes(n_heads: int) -> list[float]:
    """Returns each head's slope (Press et al., 2022): 2^(-8i/H), and between those of powers of two for other H."""
    whole = 1 << (n_heads.bit_length() - 1)
    slopes = [2.0 ** (-8.0 * (i + 1) / whole) for i in range(whole)]
    return slopes + [2.0 ** (-4.0 * (2 * i + 1) / whole) for i in range(n_heads - whole)]


class Scores(NamedTuple):
    """How a query scores the keys of its document at or before its own position.

    `window` is how many positions back it sees, its own included (0: all); `softcap` bounds scores by tanh (0: not);
    `alibi` lowers them by distance; `sinks_H` take part in the softmax and bring no value; `fused` lets PyTorch's own
    kernels do it where they can.
    """

    scale: float
    window: int = 0
    softcap: float = 0.0
    alibi: bool = False
    sinks_H: Tensor | None = None
    fused: bool = True


def attend(q_BTHN: Tensor, k_BSKN: Tensor, v_BSKM: Tensor, context: Context, scores: Scores) -> Tensor:
    """Attends from each query to the keys of its own document at or before its own position: `[B, T, H, M]`."""
    segments_BT1, positions_BT1 = (a[:, :, None] for a in context.queries)
    segments_B1S, positions_B1S = (a[:, None, :] for a in context.keys)
    seen_BTS = (segments_BT1 == segments_B1S) & (positions_BT1 >= positions_B1S)
    if scores.window:
        seen_BTS = seen_BTS & (positions_BT1 - scores.window < positions_B1S)
    group = q_BTHN.shape[2] // k_BSKN.shape[2]
    q_BHTN = q_BTHN.transpose(1, 2)
    k_BHSN, v_BHSM = (a.transpose(1, 2).repeat_interleave(group, dim=1) for a in (k_BSKN, v_BSKM))
    if scores.fused and not (scores.softcap or scores.alibi or scores.sinks_H is not None):
        mixed = F.scaled_dot_product_attention(q_BHTN, k_BHSN, v_BHSM, seen_BTS[:, None], scale=scores.scale)
        return mixed.transpose(1, 2)
    score_BHTS = ((q_BHTN * scores.scale) @ k_BHSN.transpose(2, 3)).float()
    if scores.softcap:
        score_BHTS = scores.softcap * torch.tanh(score_BHTS / scores.softcap)
    if scores.alibi:
        slopes_H11 = torch.tensor(alibi_slopes(q_BHTN.shape[1]), device=score_BHTS.device)[:, None, None]
        score_BHTS = score_BHTS - slopes_H11 * (positions_BT1 - positions_B1S)[:, None].float()
    score_BHTS = score_BHTS.masked_fill(~seen_BTS[:, None], -math.inf)
    if scores.sinks_H is not None:
        sink_BHT1 = scores.sinks_H.float()[:, None, None].expand(*score_BHTS.shape[:3], 1)
        score_BHTS = torch.cat([score_BHTS, sink_BHT1], dim=-1)
    weight_BHTS = score_BHTS.softmax(dim=-1)[..., : k_BHSN.shape[2]].to(v_BHSM.dtype)
    return (weight_BHTS @ v_BHSM).transpose(1, 2)


def extend(cached: Kept | None, new: Kept) -> Kept:
    """Returns what is kept along time, `[B, S, ...]`, with this call's `[B, T, ...]` behind it."""
    return {key: torch.cat([cached[key], a], dim=1) if cached else a for key, a in new.items()}


class Attending(nn.Module):
    """What every mixer shares that scores keys: how they are scored, a gate on what is read, and the way back."""

    def __init__(self, config: LmConfig, layer: Layer, key_width: int, value_width: int) -> None:
        super().__init__()
        c, self.config, self.layer, self.key_width = config, config, layer, key_width
        self.o = Linear(c.n_heads * value_width, c.d_model, c.o_bias, depth=2 * c.n_layers)
        self.sinks = nn.Parameter(torch.empty(c.n_heads)) if c.attention_sinks else None
        if c.attention_gate == "head":
            self.head_gate = Linear(c.d_model, c.n_heads)
        if c.attention_gate == "element":
            self.element_gate = Linear(c.d_model, c.n_heads * value_width)

    def initialise(self) -> None:
        if self.sinks is not None:
            nn.init.zeros_(self.sinks)

    def _scores(self) -> Scores:
        c, layer = self.config, self.layer
        scale = c.attention_scale or 1.0 / math.sqrt(self.key_width)
        fused = c._attn_implementation == "sdpa"
        return Scores(scale, layer.window, c.attention_softcap, layer.position == "alibi", self.sinks, fused)

    def _gate(self, o_BTHM: Tensor, x_BTD: Tensor) -> Tensor:
        """Lets the input close each head, or each number of each head, by a sigmoid (Qiu et al., 2025)."""
        if self.config.attention_gate == "head":
            return o_BTHM * self.head_gate(x_BTD).sigmoid()[..., None]
        if self.config.attention_gate == "element":
            return o_BTHM * self.element_gate(x_BTD).sigmoid().unflatten(-1, o_BTHM.shape[-2:])
        return o_BTHM


class Attention(Attending):
    """Causal grouped-query attention (Ainslie et al., 2023), with its published variations."""

    def __init__(self, config: LmConfig, layer: Layer) -> None:
        super().__init__(config, layer, config.head_width, config.head_width)
        c = config
        self.q = Linear(c.d_model, c.n_heads * c.head_width, c.qkv_bias)
        self.k = Linear(c.d_model, c.n_kv_heads * c.head_width, c.qkv_bias)
        self.v = Linear(c.d_model, c.n_kv_heads * c.head_width, c.qkv_bias)
        if c.qk_norm != "none":  # by head (Dehghani et al., 2023), or over all heads at once (OLMo 2)
            by_head = c.qk_norm == "head"
            self.q_norm = Norm(c, *(() if by_head else (c.n_heads,)), c.head_width, kind="rms")
            self.k_norm = Norm(c, *(() if by_head else (c.n_kv_heads,)), c.head_width, kind="rms")
        rotated = int(c.head_width * c.rope["fraction"])
        self.rotation = Rotation(c, layer, rotated) if layer.position == "rope" else None
        self.value_mix = nn.Parameter(torch.empty(2)) if c.value_residual else None

    def initialise(self) -> None:
        super().initialise()
        if self.value_mix is not None:
            nn.init.constant_(self.value_mix, 0.5)

    def forward(
        self, x_BTD: Tensor, stream: Stream, context: Context, cached: Kept | None
    ) -> tuple[Tensor, Stream, Kept | None]:
        c, kept = self.config, None
        q_BTHN = self.q(x_BTD).unflatten(-1, (c.n_heads, c.head_width))
        k_BTKN, v_BTKN = (part(x_BTD).unflatten(-1, (c.n_kv_heads, c.head_width)) for part in (self.k, self.v))
        if c.qkv_clip:
            q_BTHN, k_BTKN, v_BTKN = (a.clamp(-c.qkv_clip, c.qkv_clip) for a in (q_BTHN, k_BTKN, v_BTKN))
        if c.qk_norm != "none":
            q_BTHN, k_BTKN = self.q_norm(q_BTHN), self.k_norm(k_BTKN)
        if self.rotation is not None:
            q_BTHN, k_BTKN = self.rotation(context.queries.positions_BT, q_BTHN, k_BTKN)
        if self.value_mix is not None:
            v_BTKN, stream = _mix_values(v_BTKN, stream, *self.value_mix)
        if cached is not None:
            kept = extend(cached, {"k": k_BTKN, "v": v_BTKN})
            k_BTKN, v_BTKN = kept["k"], kept["v"]
        o_BTHN = self._attend(q_BTHN, k_BTKN, v_BTKN, context)
        return self.o(self._gate(o_BTHN, x_BTD).flatten(-2)), stream, kept

    def _attend(self, q_BTHN: Tensor, k_BSKN: Tensor, v_BSKN: Tensor, context: Context) -> Tensor:
        """Returns what each head reads, `[B, T, H, N]`."""
        return attend(q_BTHN, k_BSKN, v_BSKN, context, self._scores())


def _mix_values(v_BTKN: Tensor, stream: Stream, own: Tensor, first: Tensor) -> tuple[Tensor, Stream]:
    """Blends in the first layer's values by two learned weights (Zhou et al., 2024)."""
    first_v_BTKN = v_BTKN if stream.first_v_BTKN is None else stream.first_v_BTKN
    return (own * v_BTKN + first * first_v_BTKN).to(v_BTKN.dtype), stream._replace(first_v_BTKN=first_v_BTKN)


class Differential(Attention):
    """Attention whose paired heads 2i and 2i + 1 are subtracted, map from map (Ye et al., 2024)."""

    def __init__(self, config: LmConfig, layer: Layer) -> None:
        super().__init__(config, layer)
        self.lambda_q = nn.Parameter(torch.empty(2, config.head_width))
        self.lambda_k = nn.Parameter(torch.empty(2, config.head_width))
        self.pair_norm = Norm(config, 2 * config.head_width, kind="rms")
        self.start = 0.8 - 0.6 * math.exp(-0.3 * layer.number)

    def initialise(self) -> None:
        super().initialise()
        nn.init.normal_(self.lambda_q, std=0.1)
        nn.init.normal_(self.lambda_k, std=0.1)

    def _attend(self, q_BTHN: Tensor, k_BSKN: Tensor, v_BSKN: Tensor, context: Context) -> Tensor:
        """Returns what each pair reads, by the heads of its halves, `[B, T, H, N]`."""
        scores, pair_BSKM = self._scores(), v_BSKN.unflatten(2, (-1, 2)).flatten(-2)
        maps = []
        for one in (0, 1):
            own = scores._replace(sinks_H=scores.sinks_H if scores.sinks_H is None else scores.sinks_H[one::2])
            maps.append(attend(q_BTHN[:, :, one::2], k_BSKN[:, :, one::2], pair_BSKM, context, own))
        first, second = (self.lambda_q.float() * self.lambda_k.float()).sum(-1).exp()
        difference_BTHM = maps[0].float() - (first - second + self.start) * maps[1].float()
        normed_BTHM = (1.0 - self.start) * self.pair_norm(difference_BTHM)
        return normed_BTHM.to(q_BTHN.dtype).reshape(q_BTHN.shape)


class Latent(Attending):
    """Latent attention (DeepSeek-AI, 2024), which keeps a latent and one rotated key a token."""

    def __init__(self, config: LmConfig, layer: Layer) -> None:
        c, size = config, config.latent
        shared, value_width = size["rope_width"], size["value_width"] or c.head_width
        super().__init__(c, layer, c.head_width + shared, value_width)
        norm = partial(Norm, c, kind="rms", epsilon=size["norm_epsilon"])
        if size["q_rank"]:
            self.q_down = Linear(c.d_model, size["q_rank"], c.qkv_bias)
            self.q_latent_norm = norm(size["q_rank"])
            self.q_up = Linear(size["q_rank"], c.n_heads * self.key_width)
        else:
            self.q = Linear(c.d_model, c.n_heads * self.key_width)
        self.kv_down = Linear(c.d_model, size["kv_rank"], c.qkv_bias)
        self.k_shared = Linear(c.d_model, shared, c.qkv_bias)
        self.kv_latent_norm = norm(size["kv_rank"])
        self.k_up = Linear(size["kv_rank"], c.n_heads * c.head_width)
        self.v_up = Linear(size["kv_rank"], c.n_heads * value_width)
        self.rotation = Rotation(c, layer, shared) if layer.position == "rope" else None

    def forward(
        self, x_BTD: Tensor, stream: Stream, context: Context, cached: Kept | None
    ) -> tuple[Tensor, Stream, Kept | None]:
        c, kept = self.config, None
        q_BTF = self.q_up(self.q_latent_norm(self.q_down(x_BTD))) if c.latent["q_rank"] else self.q(x_BTD)
        q_BTHN = q_BTF.unflatten(-1, (c.n_heads, self.key_width))
        content_BTHP, turned_BTHR = q_BTHN.split([c.head_width, self.key_width - c.head_width], dim=-1)
        latent_BTL, key_BT1R = self.kv_latent_norm(self.kv_down(x_BTD)), self.k_shared(x_BTD)[:, :, None]
        if self.rotation is not None:
            turned_BTHR, key_BT1R = self.rotation(context.queries.positions_BT, turned_BTHR, key_BT1R)
        if cached is not None:
            kept = extend(cached, {"latent": latent_BTL, "key": key_BT1R})
            latent_BTL, key_BT1R = kept["latent"], kept["key"]
        k_BSHP, v_BSHM = (up(latent_BTL).unflatten(-1, (c.n_heads, -1)) for up in (self.k_up, self.v_up))
        k_BSHN = torch.cat([k_BSHP, key_BT1R.expand(-1, -1, c.n_heads, -1)], dim=-1)
        q_BTHN = torch.cat([content_BTHP, turned_BTHR], dim=-1)
        o_BTHM = attend(q_BTHN, k_BSHN, v_BSHM, context, self._scores())
        return self.o(self._gate(o_BTHM, x_BTD).flatten(-2)), stream, kept


def recurrent_width(config: LmConfig, mixer: str) -> int:
    """Returns how many channels a mixer with a state has."""
    return config.recurrent["width"] or (2 * config.d_model if mixer == "ssm" else config.d_model)


def real(places: Places) -> Tensor:
    """Says which tokens are of a document, `[B, T]`; the others are padding, which no state takes note of."""
    return places.segments_BT > 0


def begins(places: Places) -> Tensor:
    """Says which tokens are the first of a document, `[B, T]`: whatever state there is ends before them."""
    return real(places) & (places.positions_BT == 0)


def beside(flags_BT: Tensor, x: Tensor) -> Tensor:
    """Shapes `[B, T]` so that it goes with `[B, T, ...]`."""
    return flags_BT.reshape(*flags_BT.shape, *(1,) * (x.ndim - 2))


def accumulate(decay: Tensor, write: Tensor, state: Tensor, places: Places) -> Tensor:
    """Returns every state of h_t = decay_t · h_(t-1) + write_t, `[B, T, ...]`, elementwise; `state` is the one before.

    In log T rounds: each joins what was worked out of spans of tokens to what was of those behind them.
    """
    decay = decay.masked_fill(beside(~real(places), decay), 1.0).masked_fill(beside(begins(places), decay), 0.0)
    write = write.masked_fill(beside(~real(places), write), 0.0)
    write = torch.cat([write[:, :1] + decay[:, :1] * state[:, None], write[:, 1:]], dim=1)
    span = 1
    while span < write.shape[1]:
        write = torch.cat([write[:, :span], write[:, span:] + decay[:, span:] * write[:, :-span]], dim=1)
        decay = torch.cat([decay[:, :span], decay[:, span:] * decay[:, :-span]], dim=1)
        span *= 2
    return write


def first_value(parameter: Tensor, value: Tensor) -> None:
    """Sets a parameter that was not loaded."""
    if not getattr(parameter, "_is_hf_initialized", False):
        with torch.no_grad():
            parameter.copy_(value)


class CausalConv(nn.Module):
    """Sums a channel's last W numbers of the same document by learned weights, and a bias; padding is skipped."""

    def __init__(self, config: LmConfig, channels: int) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(config.recurrent["conv_width"], channels))
        self.bias = nn.Parameter(torch.empty(channels))

    def initialise(self) -> None:
        bound = 1.0 / math.sqrt(len(self.kernel))
        nn.init.uniform_(self.kernel, -bound, bound)
        nn.init.zeros_(self.bias)

    def forward(self, x_BTC: Tensor, places: Places, seen_BWC: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns `[B, T, C]`, and the row's last W - 1 inputs; `seen_BWC` are those before this call."""
        (b, t, channels), before = x_BTC.shape, len(self.kernel) - 1
        if seen_BWC is None:
            seen_BWC = x_BTC.new_zeros(b, before, channels)
        # Padding goes to the front, so that tokens stand beside those they follow.
        order_BS = F.pad(real(places).int(), (before, 0), value=1).argsort(dim=1, stable=True)
        x_BSC = torch.cat([seen_BWC, x_BTC], dim=1).gather(1, order_BS[..., None].expand(-1, -1, channels))
        positions_BT = F.pad(places.positions_BT, (before, 0)).gather(1, order_BS)[:, before:]
        y_BTC = self.bias
        for back in range(before + 1):
            tap_BTC = x_BSC[:, before - back : before - back + t] * self.kernel[before - back]
            y_BTC = y_BTC + tap_BTC.masked_fill(positions_BT[..., None] < back, 0.0)
        place_BT = (order_BS.argsort(dim=1)[:, before:] - before).clamp(min=0)
        return y_BTC.gather(1, place_BT[..., None].expand_as(y_BTC)), x_BSC[:, t:]


class RNN(nn.Module):
    """Steps a cell through the tokens, its state in float32; a map to the model's width is behind it if they differ."""

    gates: ClassVar[int]
    states: ClassVar[tuple[str, ...]]

    def __init__(self, config: LmConfig, layer: Layer) -> None:
        super().__init__()
        c, width = config, recurrent_width(config, layer.mixer)
        self.cell_in = Linear(c.d_model, self.gates * width, bias=True)
        self.state_kernel = nn.Parameter(torch.empty(width, self.gates, width))
        self.state_bias = nn.Parameter(torch.empty(self.gates, width))
        if width != c.d_model:
            self.recurrent_out = Linear(width, c.d_model, c.recurrent["bias"], depth=2 * c.n_layers)

    def initialise(self) -> None:
        nn.init.normal_(self.state_kernel, std=1.0 / math.sqrt(len(self.state_kernel)))
        nn.init.zeros_(self.state_bias)

    def forward(
        self, x_BTD: Tensor, stream: Stream, context: Context, cached: Kept | None
    ) -> tuple[Tensor, Stream, Kept | None]:
        into_BTGH = self.cell_in(x_BTD).float().unflatten(-1, self.state_bias.shape)
        kernel_HX = self.state_kernel.flatten(1)
        is_real_BT, begins_BT = real(context.queries)[..., None], begins(context.queries)[..., None]
        state = cached or {name: into_BTGH.new_zeros(x_BTD.shape[0], len(kernel_HX)) for name in self.states}
        h_BTH = []
        for t in range(x_BTD.shape[1]):
            state = {name: value.masked_fill(begins_BT[:, t], 0.0) for name, value in state.items()}
            back_BGH = (state["h"].to(x_BTD.dtype) @ kernel_HX).float().unflatten(-1, self.state_bias.shape)
            after = self.cell(into_BTGH[:, t], back_BGH + self.state_bias.float(), state)
            state = {name: torch.where(is_real_BT[:, t], after[name], value) for name, value in state.items()}
            h_BTH.append(state["h"])
        y_BTH = torch.stack(h_BTH, dim=1).to(x_BTD.dtype)
        mixed_BTD = self.recurrent_out(y_BTH) if hasattr(self, "recurrent_out") else y_BTH
        return mixed_BTD, stream, None if cached is None else state


class GRU(RNN):
    """The gated recurrent unit (Cho et al., 2014), as `nn.GRU` has it: reset, update, new."""

    gates = 3
    states = ("h",)

    @staticmethod
    def cell(into_BGH: Tensor, back_BGH: Tensor, state: Kept) -> Kept:
        reset_BH, update_BH = (into_BGH[:, :2] + back_BGH[:, :2]).sigmoid().unbind(1)
        new_BH = torch.tanh(into_BGH[:, 2] + reset_BH * back_BGH[:, 2])
        return {"h": (1.0 - update_BH) * new_BH + update_BH * state["h"]}


class LSTM(RNN):
    """Long short-term memory (Hochreiter & Schmidhuber, 1997), as `nn.LSTM` has it: input, forget, new, output."""

    gates = 4
    states = ("h", "c")

    def initialise(self) -> None:
        super().initialise()
        open_GH = torch.zeros_like(self.state_bias)
        open_GH[1] = 1.0  # it starts by remembering (Gers et al., 2000)
        first_value(self.cell_in.bias, open_GH.flatten())

    @staticmethod
    def cell(into_BGH: Tensor, back_BGH: Tensor, state: Kept) -> Kept:
        in_BH, forget_BH, new_BH, out_BH = (into_BGH + back_BGH).unbind(1)
        c_BH = forget_BH.sigmoid() * state["c"] + in_BH.sigmoid() * new_BH.tanh()
        return {"h": out_BH.sigmoid() * c_BH.tanh(), "c": c_BH}


class Recurrence(nn.Module):
    """out(act(gate(x)) · recur(conv(in(x)))): what Griffin's block and Mamba's have in common."""

    def __init__(self, config: LmConfig, layer: Layer) -> None:
        super().__init__()
        c, width, bias = config, recurrent_width(config, layer.mixer), config.recurrent["bias"]
        self.recurrent_gate = Linear(c.d_model, width, bias)
        self.recurrent_in = Linear(c.d_model, width, bias)
        self.conv = CausalConv(c, width)
        self.recurrent_out = Linear(width, c.d_model, bias, depth=2 * c.n_layers)

    def forward(
        self, x_BTD: Tensor, stream: Stream, context: Context, cached: Kept | None
    ) -> tuple[Tensor, Stream, Kept | None]:
        before = cached or {}
        x_BTC, seen_BWC = self.conv(self.recurrent_in(x_BTD), context.queries, before.get("conv"))
        y_BTC, last = self.recur(x_BTC, before.get("h"), context.queries)
        mixed_BTD = self.recurrent_out(self.activation(self.recurrent_gate(x_BTD)) * y_BTC.to(x_BTD.dtype))
        return mixed_BTD, stream, None if cached is None else {"h": last, "conv": seen_BWC}


class BlockGate(nn.Module):
    """The sigmoid of a block-diagonal map, in float32."""

    def __init__(self, blocks: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(blocks, size, size))
        self.bias = nn.Parameter(torch.empty(blocks, size))

    def initialise(self) -> None:
        nn.init.normal_(self.weight, std=1.0 / math.sqrt(self.weight.shape[-1]))
        nn.init.zeros_(self.bias)

    def forward(self, x_BTC: Tensor) -> Tensor:
        x_BTKI = x_BTC.unflatten(-1, self.bias.shape)
        y_BTKO = torch.einsum("btki,koi->btko", x_BTKI, self.weight)
        return (y_BTKO.float() + self.bias.float()).sigmoid().flatten(-2)


class GatedLinear(Recurrence):
    """The real-gated linear recurrent unit of Griffin (De et al., 2024)."""

    activation = staticmethod(partial(F.gelu, approximate="tanh"))

    def __init__(self, config: LmConfig, layer: Layer) -> None:
        super().__init__(config, layer)
        width, blocks = recurrent_width(config, layer.mixer), config.recurrent["blocks"] or config.n_heads
        self.input_gate, self.decay_gate = (BlockGate(blocks, width // blocks) for _ in range(2))
        self.forget = nn.Parameter(torch.empty(width))

    def initialise(self) -> None:
        kept = torch.empty_like(self.forget).uniform_(0.9, 0.999)
        first_value(self.forget, torch.log(torch.expm1(-torch.log(kept) / 8.0)))

    def recur(self, x_BTC: Tensor, state_BC: Tensor | None, places: Places) -> tuple[Tensor, Tensor]:
        """Returns h_t = a_t · h_(t-1) + sqrt(1 - a_t²) · i_t · x_t for each token, and the last."""
        log_decay_BTC = -8.0 * self.decay_gate(x_BTC) * F.softplus(self.forget.float())
        weight_BTC = (-torch.expm1(2.0 * log_decay_BTC)).clamp(min=1e-30).sqrt()
        weight_BTC = weight_BTC.masked_fill(beside(begins(places), weight_BTC), 1.0)
        write_BTC = weight_BTC * self.input_gate(x_BTC) * x_BTC.float()
        state_BC = torch.zeros_like(write_BTC[:, 0]) if state_BC is None else state_BC
        h_BTC = accumulate(log_decay_BTC.exp(), write_BTC, state_BC, places)
        return h_BTC, h_BTC[:, -1]


class SelectiveSSM(Recurrence):
    """The selective state-space model of Mamba (Gu & Dao, 2023)."""

    chunk = 64  # states of so many tokens are in memory at once
    activation = staticmethod(F.silu)

    def __init__(self, config: LmConfig, layer: Layer) -> None:
        super().__init__(config, layer)
        width, self.size = recurrent_width(config, layer.mixer), config.recurrent["state_width"]
        self.rank = config.recurrent["step_rank"] or -(-config.d_model // 16)
        self.select = Linear(width, self.rank + 2 * self.size)
        self.step = nn.Linear(self.rank, width)
        self.a_log = nn.Parameter(torch.empty(width, self.size))
        self.skip = nn.Parameter(torch.empty(width))

    def initialise(self) -> None:
        nn.init.ones_(self.skip)
        rates_N = torch.arange(1.0, self.size + 1.0, device=self.a_log.device).log()
        first_value(self.a_log, rates_N.expand_as(self.a_log))
        bound = 1.0 / math.sqrt(self.rank)
        nn.init.uniform_(self.step.weight, -bound, bound)
        steps_C = torch.empty_like(self.step.bias).uniform_(math.log(1e-3), math.log(1e-1)).exp()
        first_value(self.step.bias, steps_C.expm1().log())

    def recur(self, x_BTC: Tensor, state_BCN: Tensor | None, places: Places) -> tuple[Tensor, Tensor]:
        """Reads C_t · h_t + D x_t of h_t = exp(Δ_t A) · h_(t-1) + Δ_t B_t x_t at each token; returns the last h too."""
        u_BTC = F.silu(x_BTC)
        low_BTR, write_BTN, read_BTN = self.select(u_BTC).split([self.rank, self.size, self.size], dim=-1)
        step_BTC, u_BTC = F.softplus(self.step(low_BTR).float()), u_BTC.float()
        rate_CN = -self.a_log.float().exp()
        if state_BCN is None:
            state_BCN = rate_CN.new_zeros(u_BTC.shape[0], *rate_CN.shape)
        y_BTC = []
        tokens = (step_BTC, u_BTC, write_BTN.float(), read_BTN.float(), *places)
        for step_BLC, u_BLC, write_BLN, read_BLN, *where in zip(*(a.split(self.chunk, 1) for a in tokens), strict=True):
            decay_BLCN = (step_BLC[..., None] * rate_CN).exp()
            write_BLCN = (step_BLC * u_BLC)[..., None] * write_BLN[:, :, None]
            h_BLCN = accumulate(decay_BLCN, write_BLCN, state_BCN, Places(*where))
            y_BTC.append(torch.einsum("blcn,bln->blc", h_BLCN, read_BLN))
            state_BCN = h_BLCN[:, -1]
        return torch.cat(y_BTC, dim=1) + self.skip.float() * u_BTC, state_BCN


MIXERS: dict[str, Callable[[LmConfig, Layer], nn.Module]] = {
    "attention": Attention,
    "differential": Differential,
    "latent": Latent,
    "gru": GRU,
    "lstm": LSTM,
    "linear": GatedLinear,
    "ssm": SelectiveSSM,
}
MLPS: dict[str, Callable[[LmConfig, Layer], nn.Module]] = dict.fromkeys(KINDS, MLP)


class Plain:
    """The ordinary residual: a branch reads the one stream, and is added to it."""

    def __call__(self, x_BTD: Tensor) -> Plain:
        return self

    def read(self, x_BTD: Tensor) -> Tensor:
        return x_BTD

    def write(self, x_BTD: Tensor, branch_BTD: Tensor) -> Tensor:
        return x_BTD + branch_BTD


class Weighted(NamedTuple):
    """Weights between streams and a branch in float32, with `[B, T]` in front where they depend on the input."""

    read_P: Tensor
    mix_PQ: Tensor
    write_Q: Tensor

    def read(self, x_BTPD: Tensor) -> Tensor:
        """Returns what the branch reads, `[B, T, D]`."""
        return torch.einsum("...p,...pd->...d", self.read_P, x_BTPD.float()).to(x_BTPD.dtype)

    def write(self, x_BTPD: Tensor, branch_BTD: Tensor) -> Tensor:
        """Returns the streams after the branch, `[B, T, Q, D]`."""
        mixed_BTQD = torch.einsum("...pq,...pd->...qd", self.mix_PQ, x_BTPD.float())
        return (mixed_BTQD + self.write_Q[..., None] * branch_BTD[..., None, :]).to(x_BTPD.dtype)


class Hyper(nn.Module):
    """The weights of a branch of hyper-connections (Zhu et al., 2024); what is stored is added to where they start.

    The start is to read one stream, the layer's next branch the next one, to mix none, and to write to all. With
    `hyper_dynamic` there is added the tanh of a map of each stream, times two small learned factors.
    """

    def __init__(self, config: LmConfig, number: int) -> None:
        super().__init__()
        n = config.hyper_streams
        self.first = number % n
        self.read, self.write = nn.Parameter(torch.empty(n)), nn.Parameter(torch.empty(n))
        self.mix = nn.Parameter(torch.empty(n, n))
        self.dynamic = config.hyper_dynamic
        if self.dynamic:
            self.hyper_norm = Norm(config, config.d_model)
            self.kernel = nn.Parameter(torch.empty(config.d_model, n + 2))
            self.factors = nn.Parameter(torch.empty(2))

    def initialise(self) -> None:
        for parameter in (self.read, self.mix, self.write, *((self.kernel,) if self.dynamic else ())):
            nn.init.zeros_(parameter)
        if self.dynamic:
            nn.init.constant_(self.factors, 0.01)

    def forward(self, x_BTPD: Tensor) -> Weighted:
        """Returns the weights for the streams that the branch meets."""
        start_PQ = torch.eye(len(self.read), device=x_BTPD.device)
        weights = Weighted(
            start_PQ[self.first] + self.read.float(), start_PQ + self.mix.float(), 1.0 + self.write.float()
        )
        if not self.dynamic:
            return weights
        found = torch.tanh((self.hyper_norm(x_BTPD) @ self.kernel).float())
        for_reading, for_writing = self.factors.float()
        return Weighted(
            weights.read_P + for_reading * found[..., 0],
            weights.mix_PQ + for_reading * found[..., 1:-1],
            weights.write_Q + for_writing * found[..., -1],
        )


def spread(x_BTD: Tensor, streams: int) -> Tensor:
    """Returns the streams that enter the first layer: copies `[B, T, P, D]`, or the one as it is."""
    return x_BTD if streams == 1 else x_BTD[..., None, :].expand(-1, -1, streams, -1)


def gather(x: Tensor) -> Tensor:
    """Returns the mean of the streams, `[B, T, D]`."""
    return x if x.ndim == 3 else x.mean(-2)


class Block(nn.Module):
    """x + mixer(norm(x)), then x + mlp(norm(x)); or the norms elsewhere, or both branches at once.

    `pre` norms what a branch reads (Xiong et al., 2020), `post` the sum (Vaswani et al., 2017), `output` what a
    branch writes (OLMo 2), `sandwich` what it reads and what it writes (Gemma 2). Of several streams, x is what `Hyper`
    has a branch read, and how it is added.
    """

    def __init__(self, config: LmConfig, number: int) -> None:
        super().__init__()
        c, self.config, layer = config, config, config.layer(number)
        self.mixer = MIXERS[layer.mixer](c, layer)
        self.moe = MoE(c, layer) if layer.n_experts else None
        self.mlp = MLPS[layer.mlp](c, layer) if layer.mlp != "none" and not layer.n_experts else None
        self.feeds = layer.mlp != "none"
        self.mixer_hyper = Hyper(c, number) if c.hyper_streams > 1 else Plain()
        self.mlp_hyper = Hyper(c, number + 1) if c.hyper_streams > 1 and self.feeds else Plain()
        for branch in ("mixer", "mlp") if self.feeds else ("mixer",):
            shared = c.residual == "parallel_shared" and branch == "mlp"
            reads = c.norm_placement in ("pre", "sandwich") and not shared
            self.add_module(f"{branch}_norm", Norm(c, c.d_model) if reads else nn.Identity())
            writes = c.norm_placement != "pre"
            self.add_module(f"{branch}_post_norm", Norm(c, c.d_model) if writes else nn.Identity())

    def forward(self, stream: Stream, context: Context, cached: Kept | None) -> tuple[Stream, Kept | None]:
        """Returns the stream after the layer, and what its mixer keeps (None without a cache)."""
        x = stream.x
        links = self.mixer_hyper(x)
        read_BTD = self.mixer_norm(links.read(x))
        mixed_BTD, stream, kept = self.mixer(read_BTD, stream, context, cached)
        if self.config.residual == "sequential":
            x = self._add(x, mixed_BTD, links, self.mixer_post_norm)
            if self.feeds:
                links = self.mlp_hyper(x)
                mlp_BTD, stream = self._feed_forward(self.mlp_norm(links.read(x)), stream, context)
                x = self._add(x, mlp_BTD, links, self.mlp_post_norm)
        else:
            if self.config.residual == "parallel":
                read_BTD = self.mlp_norm(x)
            mlp_BTD, stream = self._feed_forward(read_BTD, stream, context)
            x = self._add(x, mixed_BTD, links, self.mixer_post_norm)
            x = self._add(x, mlp_BTD, links, self.mlp_post_norm)
        return stream._replace(x=x), kept

    def _feed_forward(self, x_BTD: Tensor, stream: Stream, context: Context) -> tuple[Tensor, Stream]:
        if self.mlp is not None:
            return self.mlp(x_BTD), stream
        assert self.moe is not None
        y_BTD, penalty = self.moe(x_BTD, context.queries.segments_BT)
        return y_BTD, stream._replace(penalty=penalty if stream.penalty is None else stream.penalty + penalty)

    def _add(self, x: Tensor, branch_BTD: Tensor, links: Plain | Weighted, norm: nn.Module) -> Tensor:
        """Adds a branch to the stream, with the norm that stands behind it, if any."""
        c, after = self.config, self.config.norm_placement == "post"
        branch_BTD = c.residual_scale * (branch_BTD if after else norm(branch_BTD))
        x = links.write(x, F.dropout(branch_BTD, c.dropout, self.training))
        return norm(x) if after else x


class Embedding(nn.Module):
    """The token table, and positions that are added: learned, or the sines and cosines of Vaswani et al. (2017)."""

    def __init__(self, config: LmConfig) -> None:
        super().__init__()
        self.config = config
        self.table = nn.Embedding(config.vocab_size, config.d_model)
        if config.position_embedding == "learned":
            self.positions = nn.Embedding(config.max_seq_len, config.d_model)

    def forward(self, x_BTD: Tensor, positions_BT: Tensor) -> Tensor:
        """Scales what stands in the table, and adds positions."""
        x_BTD = x_BTD * self.config.embedding_scale
        if self.config.position_embedding == "learned":
            x_BTD = x_BTD + self.positions(positions_BT)
        if self.config.position_embedding == "sinusoidal":
            x_BTD = x_BTD + sinusoids(positions_BT, self.config.d_model).to(x_BTD.dtype)
        return x_BTD


def sinusoids(positions_BT: Tensor, width: int) -> Tensor:
    """Returns waves, float32 `[B, T, D]`: sines in even places, cosines in odd ones."""
    turns_R = torch.tensor([10_000.0 ** (-i / width) for i in range(0, width, 2)], device=positions_BT.device)
    angle_BTR = positions_BT[..., None].float() * turns_R
    return torch.stack([angle_BTR.sin(), angle_BTR.cos()], dim=-1).flatten(-2)[..., :width]


class LmForCausalLM(PreTrainedModel, GenerationMixin):
    """The decoder: embed, a stack of blocks, norm, unembed."""

    config_class = LmConfig
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _is_stateful = True  # a cache cannot be cut back: mixers may keep a state
    _no_split_modules: ClassVar[list[str]] = ["Block"]
    _skip_keys_device_placement: ClassVar[list[str]] = ["past_key_values"]
    _tied_weights_keys: ClassVar[dict[str, str]] = {"head.weight": "embed.table.weight"}

    def __init__(self, config: LmConfig) -> None:
        super().__init__(config)
        self.embed = Embedding(config)
        self.layers = nn.ModuleList(Block(config, number) for number in range(config.n_layers))
        self.final_norm = Norm(config, config.d_model) if config.final_norm else nn.Identity()
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=config.head_bias)
        self.gradient_checkpointing = False
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if hasattr(module, "initialise"):
            module.initialise()
        elif isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)

    def get_input_embeddings(self) -> nn.Module:
        return self.embed.table

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embed.table = value

    def get_output_embeddings(self) -> nn.Module:
        return self.head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.head = new_embeddings

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # `generate` leaves the cache to us

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: LmCache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        segment_ids: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **loss_options: Any,
    ) -> CausalLMOutputWithPast:
        """Predicts the next token at every place.

        Args:
            input_ids: tokens `[B, T]`; or `inputs_embeds`, their rows of the table `[B, T, D]`.
            attention_mask: 0 for padding, `[B, T]`, or with all that the cache holds in front.
            position_ids: of each token within its document; counted if left out.
            past_key_values: what was kept of earlier tokens; this call's are added to it.
            labels: the tokens themselves, -100 where they do not count; each is predicted from the one before.
            use_cache: start a cache where none is given.
            logits_to_keep: how many last places to score (0: all), or which.
            segment_ids: document of each token within its row, from 1, 0 for padding; documents do not see each other.
            output_hidden_states: return what enters each layer, a mean over streams, and what leaves the last norm.
            loss_options: passed to the loss, such as `num_items_in_batch`.
        """
        if loss_options.pop("output_attentions", None):
            raise ValueError("output_attentions: this model returns none")
        table_BTD = self.embed.table(input_ids) if inputs_embeds is None else inputs_embeds
        cache = LmCache(len(self.layers)) if use_cache and past_key_values is None else past_key_values
        context = _context(table_BTD.shape[:2], table_BTD.device, attention_mask, segment_ids, position_ids, cache)
        x_BTD = self.embed(table_BTD, context.queries.positions_BT)
        x_BTD = F.dropout(x_BTD, self.config.dropout, self.training)
        stream = Stream(spread(x_BTD, self.config.hyper_streams))
        entering = []
        for number, block in enumerate(self.layers):
            entering.append(gather(stream.x))
            stream = self._run(block, number, stream, context, cache)
        h_BTD = self.final_norm(gather(stream.x))
        if cache is not None:
            cache.places = context.keys
        scored = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits_BTV = self._unembed(h_BTD[:, scored])
        loss = None
        if labels is not None:
            if segment_ids is not None:
                labels = _within_documents(labels, segment_ids)
            loss = self.loss_function(logits_BTV, labels, vocab_size=self.config.vocab_size, **loss_options)
            if self.training and stream.penalty is not None:
                loss = loss + stream.penalty * _share(labels, context.queries.segments_BT, **loss_options)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits_BTV,
            past_key_values=cache,
            hidden_states=(*entering, h_BTD) if output_hidden_states else None,
        )

    def _run(self, block: Block, number: int, stream: Stream, context: Context, cache: LmCache | None) -> Stream:
        """Runs one layer, whose backward pass computes it again under gradient checkpointing."""
        if self.gradient_checkpointing and self.training and cache is None:

            def run(*parts: Tensor | None) -> tuple[Tensor | None, ...]:  # tensors in and out, not tuples of them
                return tuple(block(Stream(*parts), context, None)[0])

            return Stream(*self._gradient_checkpointing_func(run, *stream))
        stream, kept = block(stream, context, None if cache is None else cache.layers[number])
        if cache is not None:
            cache.layers[number] = kept
        return stream

    def _unembed(self, h_BTD: Tensor) -> Tensor:
        """Returns float32 logits `[B, T, V]`."""
        logits_BTV = self.head(h_BTD).float() * self.config.logit_scale
        if softcap := self.config.logit_softcap:
            logits_BTV = softcap * torch.tanh(logits_BTV / softcap)
        return logits_BTV


def _context(
    shape: torch.Size,
    device: torch.device,
    attention_mask: Tensor | None,
    segment_ids: Tensor | None,
    position_ids: Tensor | None,
    cache: LmCache | None,
) -> Context:
    """Works out where this call's tokens stand, and where all tokens do that they may look at."""
    segments_BT = torch.ones(shape, dtype=torch.long, device=device) if segment_ids is None else segment_ids.long()
    if attention_mask is not None:
        if attention_mask.ndim != 2:
            raise ValueError(f"attention_mask of shape {tuple(attention_mask.shape)}: give [B, T], 0 for padding")
        segments_BT = segments_BT * (attention_mask[:, -shape[1] :] > 0)
    if position_ids is None:  # how many tokens of its document stand before it
        old_BS = segments_BT[:, :0] if cache is None or cache.places is None else cache.places.segments_BT
        all_BS = torch.cat([old_BS, segments_BT], dim=1)
        same_BTS = segments_BT[:, :, None] == all_BS[:, None, :]
        position_ids = same_BTS.tril(all_BS.shape[1] - shape[1] - 1).sum(-1)
    queries = Places(segments_BT, position_ids.expand(shape))
    return Context(queries, queries if cache is None else cache.extend(queries))


def _within_documents(labels_BT: Tensor, segments_BT: Tensor) -> Tensor:
    """Leaves out what would be predicted from another document, and padding."""
    first_BT = F.pad(segments_BT[:, 1:] != segments_BT[:, :-1], (1, 0), value=True)
    return labels_BT.masked_fill(first_BT | (segments_BT == 0), -100)


def _share(labels_BT: Tensor, segments_BT: Tensor, num_items_in_batch: Tensor | None = None, **_: Any) -> Tensor:
    """Returns by what a sum over tokens is multiplied to stand beside a loss that is a mean over labels.

    The mean is over `num_items_in_batch` where the batch is a part of a larger one.
    """
    counted = (labels_BT[:, 1:] != -100).sum()
    of_all = 1.0 if num_items_in_batch is None else counted / num_items_in_batch
    return of_all / (segments_BT != 0).sum().clamp(min=1)


LmConfig.register_for_auto_class()
LmForCausalLM.register_for_auto_class("AutoModelForCausalLM")
