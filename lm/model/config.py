"""The architecture as a frozen value: everything the decoder does follows from a `ModelConfig`.

Some keys are *per layer*: one value for all layers, or a tuple that repeats over them. `window=(4096, 0)` slides in
every other layer; `position=("rope", "rope", "rope", "none")` leaves every fourth one without a position code. What
the layers of one period are is worked out here (`ModelConfig.stacks`) and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypeVar

from lm.common.errors import UserError
from lm.model import checks

T = TypeVar("T")
PerLayer: TypeAlias = T | tuple[T, ...]

Mixer = Literal["attention", "differential", "latent", "gru", "lstm", "linear", "ssm"]
Feedforward = Literal[
    "swiglu", "swiglu_clamped", "geglu", "geglu_tanh", "reglu", "silu", "gelu", "gelu_tanh", "relu", "relu2", "none"
]
RouterScore = Literal["softmax", "sigmoid"]
GroupScore = Literal["max", "top2"]
Balance = Literal["none", "loss", "bias"]
NormKind = Literal["rms", "layer", "tanh", "none"]
NormScale = Literal["weight", "one_plus", "none"]
NormPlacement = Literal["pre", "post", "output", "sandwich"]
Residual = Literal["sequential", "parallel", "parallel_shared"]
Position = Literal["rope", "alibi", "none"]
PositionEmbedding = Literal["none", "learned", "sinusoidal"]
RopeScaling = Literal["none", "linear", "ntk", "llama3", "yarn"]
QKNorm = Literal["none", "head", "full"]
AttentionGate = Literal["none", "head", "element"]
AttentionBackend = Literal["xla", "ring", "splash", "splash_interpret", "cudnn"]
Remat = Literal["none", "dots", "block"]
Dtype = Literal["float32", "bfloat16", "float16"]
Quantize = Literal["none", "int8", "fp8"]

# The keys that say how a model is computed, not what it is.
EXECUTION = (
    *("attention_backend", "scan_layers", "pipeline_microbatches", "pipeline_repeats"),
    *("remat", "dtype", "quantize"),
)


@dataclass(frozen=True)
class Rope:
    """Rotary position embedding and the ways to stretch it; `theta` and `factor` are per layer.

    `attention_factor` multiplies cosines and sines under YaRN; 0 stands for its own 0.1 ln(factor) + 1.
    """

    theta: PerLayer[float] = 10_000.0
    fraction: float = 1.0
    scaling: RopeScaling = "none"
    factor: PerLayer[float] = 1.0
    original_len: int = 0
    low_frequency_factor: float = 1.0
    high_frequency_factor: float = 4.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float = 0.0
    truncate: bool = True


@dataclass(frozen=True)
class Latent:
    """Widths of latent attention, whose heads score `head_width` numbers by content and `rope_width` by position.

    `q_rank` 0 makes queries straight from the input; `value_width` 0 stands for `head_width`, `norm_epsilon` 0 for the
    model's.
    """

    q_rank: int = 0
    kv_rank: int = 0
    rope_width: int = 0
    value_width: int = 0
    norm_epsilon: float = 0.0


@dataclass(frozen=True)
class Recurrent:
    """Sizes of mixers that carry a state; 0 stands for what follows from the model's (`recurrent_width` and below)."""

    width: int = 0
    conv_width: int = 4
    blocks: int = 0
    state_width: int = 16
    step_rank: int = 0
    bias: bool = False


@dataclass(frozen=True)
class Moe:
    """Experts in place of the MLP and how tokens are routed to them; `n_experts` is per layer, 0 keeps the MLP.

    `d_ff` 0 stands for the model's; `shared_d_ff` 0 for no shared expert; `capacity_factor` 0 drops no token.
    """

    n_experts: PerLayer[int] = 0
    top_k: int = 2
    d_ff: int = 0
    shared_d_ff: int = 0
    shared_gate: bool = False
    first_dense: int = 0
    score: RouterScore = "softmax"
    normalise: bool = True
    weight_scale: float = 1.0
    n_groups: int = 1
    top_groups: int = 1
    group_score: GroupScore = "max"
    router_bias: bool = False
    capacity_factor: float = 0.0
    balance: Balance = "loss"
    balance_weight: float = 0.01
    balance_rate: float = 0.001
    z_weight: float = 0.0


@dataclass(frozen=True)
class Layer:
    """What one layer is: the per-layer keys, resolved."""

    mixer: str
    mlp: str
    window: int
    position: str
    theta: float
    factor: float
    n_experts: int = 0

    @property
    def attends(self) -> bool:
        """Whether the mixer looks back at keys, rather than carrying a state."""
        return self.mixer in ("attention", "differential", "latent")

    @property
    def by_head(self) -> bool:
        """Whether each key/value head has keys and values of its own, rather than all sharing a latent."""
        return self.mixer in ("attention", "differential")


@dataclass(frozen=True)
class Stack:
    """Like layers whose parameters are stored stacked: layers `first`, `first + step`, … of the model."""

    name: str
    layer: Layer
    first: int
    step: int
    count: int

    @property
    def numbers(self) -> range:
        """The layers it holds, by their number in the model."""
        return range(self.first, self.first + self.step * self.count, self.step)


@dataclass(frozen=True)
class ModelConfig:
    """A decoder-only language model; the defaults are a Llama: pre-norm RMSNorm, RoPE, grouped queries, SwiGLU.

    All but the last group of fields is the architecture; the last says how it is computed and changes no result
    beyond rounding. Each key is explained in `lm.train.defaults.model`.
    """

    vocab_size: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_ff: int
    head_width: int
    max_seq_len: int

    mixer: PerLayer[Mixer] = "attention"
    mlp: PerLayer[Feedforward] = "swiglu"
    mlp_bias: bool = False
    moe: Moe = field(default_factory=Moe)

    norm: NormKind = "rms"
    norm_scale: NormScale = "weight"
    norm_bias: bool = False
    norm_epsilon: float = 1e-6
    norm_placement: NormPlacement = "pre"
    final_norm: bool = True
    residual: Residual = "sequential"
    residual_scale: float = 1.0
    hyper_streams: int = 1
    hyper_dynamic: bool = False
    value_residual: bool = False

    window: PerLayer[int] = 0
    latent: Latent = field(default_factory=Latent)
    recurrent: Recurrent = field(default_factory=Recurrent)
    qkv_bias: bool = False
    qkv_clip: float = 0.0
    o_bias: bool = False
    qk_norm: QKNorm = "none"
    attention_scale: float = 0.0
    attention_softcap: float = 0.0
    attention_sinks: bool = False
    attention_gate: AttentionGate = "none"

    position: PerLayer[Position] = "rope"
    position_embedding: PositionEmbedding = "none"
    rope: Rope = field(default_factory=Rope)

    embedding_scale: float = 1.0
    tie_embeddings: bool = True
    head_bias: bool = False
    logit_scale: float = 1.0
    logit_softcap: float = 0.0
    dropout: float = 0.0
    predict_ahead: int = 0

    attention_backend: AttentionBackend = "xla"
    scan_layers: bool = True
    pipeline_microbatches: int = 0
    pipeline_repeats: int = 1
    remat: Remat = "none"
    dtype: Dtype = "float32"
    quantize: Quantize = "none"

    def __post_init__(self) -> None:
        checks.check(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelConfig:
        """Builds a config from resolved values, taking only the architecture's own keys; lists become tuples."""
        return _build(cls, values)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer of the model, in order."""
        return tuple(
            Layer(
                mixer=_at(self.mixer, i),
                mlp=_at(self.mlp, i),
                window=_at(self.window, i),
                position=_at(self.position, i),
                theta=_at(self.rope.theta, i),
                factor=_at(self.rope.factor, i),
                n_experts=0 if i < self.moe.first_dense or _at(self.mlp, i) == "none" else _at(self.moe.n_experts, i),
            )
            for i in range(self.n_layers)
        )

    @cached_property
    def n_lead(self) -> int:
        """How many layers stand before the repeating pattern, each a stack of its own."""
        return self.moe.first_dense

    @cached_property
    def period(self) -> int:
        """How many layers the repeating pattern has."""
        body = self.layers[self.n_lead :]
        return next(
            (p for p in range(1, len(body)) if all(a == b for a, b in zip(body, body[p:], strict=False))), len(body)
        )

    @cached_property
    def stacks(self) -> tuple[Stack, ...]:
        """How the layers are stored: `lead_i` alone, then `block_i` holding the i-th of each period.

        The layers need not fill the last period; the first few stacks are then one longer than the rest.
        """
        lead = [Stack(f"lead_{i}", self.layers[i], i, 1, 1) for i in range(self.n_lead)]
        body = self.n_layers - self.n_lead
        blocks = [
            Stack(
                f"block_{i}", self.layers[self.n_lead + i], self.n_lead + i, self.period, -(-(body - i) // self.period)
            )
            for i in range(min(self.period, body))
        ]
        return (*lead, *blocks)

    def place(self, number: int) -> tuple[str, int]:
        """Returns the stack that holds a layer, and where in it."""
        if number < self.n_lead:
            return f"lead_{number}", 0
        repeat, i = divmod(number - self.n_lead, self.period)
        return f"block_{i}", repeat


# Keys that are one value or a tuple that repeats over the layers.
PER_LAYER = ("mixer", "mlp", "moe.n_experts", "window", "position", "rope.theta", "rope.factor")


def _at(value: Any, layer: int) -> Any:
    return value[layer % len(value)] if isinstance(value, tuple) else value


def _build(cls: Any, values: Mapping[str, Any]) -> Any:
    """Builds a (nested) config dataclass from plain values; keys that are not there keep their defaults."""
    given: dict[str, Any] = {}
    for item in fields(cls):
        if item.name in values:
            value = values[item.name]
            nested = item.default_factory if isinstance(item.default_factory, type) else None
            if nested is not None and is_dataclass(nested):
                if not hasattr(value, "items"):
                    raise UserError(f"model.{item.name}={value!r}: a section of keys, not a value")
                value = _build(nested, value)
            given[item.name] = tuple(value) if isinstance(value, list) else value
    return cls(**given)


def pattern(values: Sequence[T]) -> PerLayer[T]:
    """Returns a per-layer key in its shortest form: one value if all are alike, else the period that repeats."""
    n = len(values)
    p = next(p for p in range(1, n + 1) if all(values[i] == values[i % p] for i in range(n)))
    return values[0] if p == 1 else tuple(values[:p])
