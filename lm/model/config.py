"""The architecture as a frozen value: everything the decoder does follows from a `ModelConfig`.

Some keys are *per layer*: one value for all layers, or a tuple that repeats over them. `window=(4096, 0)` slides in
every other layer; `position=("rope", "rope", "rope", "none")` leaves every fourth one without a position code. What
the layers of one period are is worked out here (`ModelConfig.stacks`) and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, TypeVar, get_args

from lm.common.errors import UserError
from lm.model.attention import support

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
Dtype = Literal["float32", "bfloat16"]


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
    remat: Remat = "none"
    dtype: Dtype = "float32"

    def __post_init__(self) -> None:
        _check_types(self, "model")
        for name in ("vocab_size", "n_layers", "n_heads", "n_kv_heads", "d_model", "d_ff", "head_width", "max_seq_len"):
            if getattr(self, name) < 1:
                raise UserError(f"model.{name}={getattr(self, name)}: must be at least 1")
        if self.n_heads % self.n_kv_heads:
            divisors = [str(k) for k in range(1, self.n_heads + 1) if self.n_heads % k == 0]
            raise UserError(
                f"model.n_kv_heads={self.n_kv_heads} does not divide model.n_heads={self.n_heads}; "
                f"use one of {', '.join(divisors)}"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"model.dropout={self.dropout}: must be in [0, 1)")
        for name in ("norm_epsilon", "attention_scale", "attention_softcap", "logit_softcap", "qkv_clip"):
            if getattr(self, name) < 0:
                raise UserError(f"model.{name}={getattr(self, name)}: must be positive, or 0 for none of its own")
        _check_pattern(self)
        _check_unused(self)
        support.check(self.attention_backend, attention_features(self), self.dtype)

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
                value = _build(nested, value)
            given[item.name] = tuple(value) if isinstance(value, list) else value
    return cls(**given)


def _check_types(config: Any, prefix: str) -> None:
    """Checks each field against the type of its annotation: a number, a switch, or one of the choices."""
    for item in fields(config):
        name, value = f"{prefix}.{item.name}", getattr(config, item.name)
        if is_dataclass(value):
            _check_types(value, name)
            continue
        annotation = str(item.type)
        per_layer = annotation.startswith("PerLayer[")
        kind = annotation.removeprefix("PerLayer[").removesuffix("]")
        if isinstance(value, tuple) and not (per_layer and value):
            raise UserError(f"{name}={value}: one value for all layers, not a tuple")
        for one in value if isinstance(value, tuple) else (value,):
            _check_value(name, one, kind)


def _check_value(name: str, value: Any, kind: str) -> None:
    if kind == "bool":
        right = isinstance(value, bool)
    elif kind == "int":
        right = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    elif kind == "float":
        right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    else:
        choices = get_args(globals()[kind])
        if value not in choices:
            raise UserError(f"{name}={value}: choose one of {', '.join(map(str, choices))}")
        return
    if not right:
        wanted = {"bool": "True or False", "int": "a whole number that is not negative", "float": "a number"}[kind]
        raise UserError(f"{name}={value}: expected {wanted}")


def _check_pattern(c: ModelConfig) -> None:
    """Refuses combinations of layers that cannot be computed."""
    if not all(layer.theta > 0 and layer.factor > 0 for layer in c.layers):
        raise UserError(f"model.rope.theta={c.rope.theta}, model.rope.factor={c.rope.factor}: must be positive")
    if _rotates_heads(c):
        if not 0 < c.rope.fraction <= 1:
            raise UserError(f"model.rope.fraction={c.rope.fraction}: must be in (0, 1]")
        if rotary_width(c) % 2 or not rotary_width(c):
            raise UserError(
                f"model.head_width={c.head_width}: RoPE rotates pairs, so model.rope.fraction of it must be even"
            )
    if uses_rope(c) and c.rope.scaling in ("llama3", "yarn") and not c.rope.original_len:
        raise UserError(f"model.rope.original_len=0: model.rope.scaling={c.rope.scaling} needs the original context")
    if c.rope.scaling == "llama3" and c.rope.low_frequency_factor >= c.rope.high_frequency_factor:
        raise UserError(
            f"model.rope.low_frequency_factor={c.rope.low_frequency_factor}: must be below "
            f"model.rope.high_frequency_factor={c.rope.high_frequency_factor}"
        )
    if c.norm_placement == "post" and c.residual != "sequential":
        raise UserError(f"model.residual={c.residual}: a parallel block has no place for model.norm_placement=post")
    if c.residual == "parallel_shared" and c.norm_placement == "output":
        raise UserError("model.residual=parallel_shared: model.norm_placement=output norms no input to share")
    if c.residual != "sequential" and any(layer.mlp == "none" for layer in c.layers):
        raise UserError(f"model.residual={c.residual}: needs an MLP beside the mixer, but model.mlp is none")
    if c.predict_ahead and c.value_residual:
        raise UserError(
            f"model.predict_ahead={c.predict_ahead}: its blocks know no first layer's values, which "
            f"model.value_residual=True needs; set one of them back"
        )
    if c.predict_ahead >= c.max_seq_len:
        raise UserError(f"model.predict_ahead={c.predict_ahead}: must be below model.max_seq_len={c.max_seq_len}")
    if c.value_residual and not all(layer.by_head for layer in c.layers):
        raise UserError("model.value_residual=True: every layer must have values by head; model.mixer says otherwise")
    if any(layer.mixer == "differential" for layer in c.layers) and c.n_kv_heads % 2:
        raise UserError(f"model.n_kv_heads={c.n_kv_heads}: model.mixer=differential pairs heads; use an even number")
    if any(layer.mixer == "latent" for layer in c.layers):
        _check_latent(c)
    if any(layer.mixer == "linear" for layer in c.layers) and recurrent_width(c, "linear") % recurrent_blocks(c):
        raise UserError(
            f"model.recurrent.blocks={recurrent_blocks(c)}: must divide the width of the recurrence, "
            f"{recurrent_width(c, 'linear')}; set it, or model.recurrent.width"
        )
    _check_moe(c)
    for name in ("conv_width", "state_width"):
        if not getattr(c.recurrent, name):
            raise UserError(f"model.recurrent.{name}=0: must be at least 1")


def _check_moe(c: ModelConfig) -> None:
    moe, groups = c.moe, c.moe.n_groups
    if moe.first_dense >= c.n_layers:
        raise UserError(f"model.moe.first_dense={moe.first_dense}: leaves none of {c.n_layers} layers to the experts")
    for name in ("weight_scale", "capacity_factor", "balance_weight", "balance_rate", "z_weight"):
        if getattr(moe, name) < 0:
            raise UserError(f"model.moe.{name}={getattr(moe, name)}: must not be negative")
    for n in sorted({layer.n_experts for layer in c.layers if layer.n_experts}):
        if not 1 <= moe.top_k <= n:
            raise UserError(f"model.moe.top_k={moe.top_k}: must be at least 1 and at most model.moe.n_experts={n}")
        if not groups or n % groups:
            raise UserError(f"model.moe.n_groups={groups}: must divide model.moe.n_experts={n}")
        if groups > 1 and not 1 <= moe.top_groups < groups:
            raise UserError(f"model.moe.top_groups={moe.top_groups}: must be at least 1 and below {groups}, the groups")
        if moe.top_k == 1 and moe.normalise:
            raise UserError("model.moe.top_k=1: with model.moe.normalise=True its weight is 1, and no router learns")
        if moe.top_k > n // groups * moe.top_groups:
            raise UserError(f"model.moe.top_k={moe.top_k}: the {moe.top_groups} chosen groups have fewer experts")
        if moe.group_score == "top2" and n // groups < 2:
            raise UserError(f"model.moe.group_score=top2: {groups} groups of {n} experts have no two; use max")


def _check_latent(c: ModelConfig) -> None:
    for name in ("kv_rank", "rope_width"):
        if not getattr(c.latent, name):
            raise UserError(f"model.latent.{name}=0: model.mixer=latent needs at least 1")
    if c.latent.rope_width % 2 and any(layer.mixer == "latent" and layer.position == "rope" for layer in c.layers):
        raise UserError(f"model.latent.rope_width={c.latent.rope_width}: RoPE rotates pairs; use an even number")
    if c.n_kv_heads != c.n_heads and not any(layer.by_head for layer in c.layers):
        raise UserError(
            f"model.n_kv_heads={c.n_kv_heads}: model.mixer=latent unfolds keys for every head; leave it out, or set it "
            f"to model.n_heads={c.n_heads}"
        )


def _check_unused(c: ModelConfig) -> None:
    """Refuses keys that are set but would change nothing."""
    attends = any(layer.attends for layer in c.layers)
    by_head = any(layer.by_head for layer in c.layers)
    mixers = {layer.mixer for layer in c.layers}
    convolves = bool(mixers & {"linear", "ssm"})
    routes = any(layer.n_experts for layer in c.layers)
    needs = (
        ("rope.", uses_rope(c), "no layer has model.position=rope"),
        ("rope.fraction", _rotates_heads(c), "latent attention rotates model.latent.rope_width alone"),
        ("recurrent.", bool(mixers & {"gru", "lstm", "linear", "ssm"}), "no layer carries a state"),
        ("recurrent.conv_width", convolves, "no layer has model.mixer=linear or ssm"),
        ("recurrent.blocks", "linear" in mixers, "no layer has model.mixer=linear"),
        ("recurrent.state_width", "ssm" in mixers, "no layer has model.mixer=ssm"),
        ("recurrent.step_rank", "ssm" in mixers, "no layer has model.mixer=ssm"),
        ("recurrent.bias", convolves or _width_of_its_own(c), "no layer has a map that goes without"),
        ("moe.", routes, "no layer has both an MLP and model.moe.n_experts"),
        ("moe.shared_gate", c.moe.shared_d_ff > 0, "model.moe.shared_d_ff=0 is no shared expert"),
        ("moe.top_groups", c.moe.n_groups > 1, "model.moe.n_groups is 1"),
        ("moe.group_score", c.moe.n_groups > 1, "model.moe.n_groups is 1"),
        ("moe.balance_weight", c.moe.balance == "loss", "model.moe.balance is not loss"),
        ("moe.balance_rate", c.moe.balance == "bias", "model.moe.balance is not bias"),
        ("latent.", any(layer.mixer == "latent" for layer in c.layers), "no layer has model.mixer=latent"),
        ("rope.factor", c.rope.scaling != "none", "model.rope.scaling is none"),
        ("rope.original_len", c.rope.scaling in ("llama3", "yarn"), "model.rope.scaling is neither llama3 nor yarn"),
        ("rope.low_frequency_factor", c.rope.scaling == "llama3", "model.rope.scaling is not llama3"),
        ("rope.high_frequency_factor", c.rope.scaling == "llama3", "model.rope.scaling is not llama3"),
        ("rope.beta_fast", c.rope.scaling == "yarn", "model.rope.scaling is not yarn"),
        ("rope.beta_slow", c.rope.scaling == "yarn", "model.rope.scaling is not yarn"),
        ("rope.attention_factor", c.rope.scaling == "yarn", "model.rope.scaling is not yarn"),
        ("rope.truncate", c.rope.scaling == "yarn", "model.rope.scaling is not yarn"),
        ("norm_bias", c.norm in ("layer", "tanh"), f"model.norm={c.norm} has no bias"),
        ("norm_scale", c.norm != "none", "model.norm is none"),
        ("norm_placement", c.norm != "none", "model.norm is none"),
        ("head_bias", not c.tie_embeddings, "model.tie_embeddings=True leaves no head of its own"),
        ("mlp_bias", any(layer.mlp != "none" for layer in c.layers), "no layer has an MLP"),
        ("window", attends, "no layer attends"),
        ("position", attends, "no layer attends"),
        ("qkv_bias", attends, "no layer attends"),
        ("qkv_clip", by_head, "no layer has keys by head"),
        ("o_bias", attends, "no layer attends"),
        ("qk_norm", by_head, "no layer has keys by head"),
        ("attention_scale", attends, "no layer attends"),
        ("attention_softcap", attends, "no layer attends"),
        ("attention_sinks", attends, "no layer attends"),
        ("attention_gate", attends, "no layer attends"),
    )
    defaults = ModelConfig.__dataclass_fields__
    for key, used, why in needs:
        if used:
            continue
        section, _, name = key.rpartition(".")
        if section:
            group = getattr(c, section)
            names = [name] if name else [item.name for item in fields(group)]
            changed = [(f"{section}.{n}", getattr(group, n)) for n in names if getattr(group, n) != _default(group, n)]
        else:
            changed = [(name, getattr(c, name))] if getattr(c, name) != defaults[name].default else []
        for full, value in changed:
            raise UserError(f"model.{full}={value}: would change nothing, as {why}; leave it out")


def _default(group: Any, name: str) -> Any:
    return type(group).__dataclass_fields__[name].default


def uses_rope(c: ModelConfig) -> bool:
    """Says whether any layer rotates its queries and keys."""
    return any(layer.attends and layer.position == "rope" for layer in c.layers)


def _rotates_heads(c: ModelConfig) -> bool:
    return any(layer.by_head and layer.position == "rope" for layer in c.layers)


def recurrent_width(c: ModelConfig, mixer: str) -> int:
    """Returns how many channels a recurrent mixer has: `recurrent.width`, or the model's, twice that for `ssm`."""
    return c.recurrent.width or (2 * c.d_model if mixer == "ssm" else c.d_model)


def recurrent_blocks(c: ModelConfig) -> int:
    """Returns how many blocks the gates of `linear` have: `recurrent.blocks`, or one a head."""
    return c.recurrent.blocks or c.n_heads


def step_rank(c: ModelConfig) -> int:
    """Returns the rank of the map to the steps of `ssm`: `recurrent.step_rank`, or a sixteenth of the width."""
    return c.recurrent.step_rank or -(-c.d_model // 16)


def _width_of_its_own(c: ModelConfig) -> bool:
    return any(layer.mixer in ("gru", "lstm") for layer in c.layers) and recurrent_width(c, "gru") != c.d_model


def rotary_width(c: ModelConfig) -> int:
    """Returns how many of a head's numbers are rotated, where it is not latent attention's."""
    return int(c.head_width * c.rope.fraction)


def key_width(c: ModelConfig, layer: Layer) -> int:
    """Returns how wide the queries and keys of a head are where a layer attends."""
    return c.head_width + (c.latent.rope_width if layer.mixer == "latent" else 0)


def value_width(c: ModelConfig, layer: Layer) -> int:
    """Returns how wide the values are that a head reads where a layer attends."""
    if layer.mixer == "latent":
        return c.latent.value_width or c.head_width
    return 2 * c.head_width if layer.mixer == "differential" else c.head_width


def attention_features(c: ModelConfig) -> list[str]:
    """Returns which of `support.FEATURES` the layers' attention asks of its backend."""
    asks = {
        "grouped": c.n_kv_heads < c.n_heads,
        "window": any(layer.window for layer in c.layers),
        "softcap": c.attention_softcap > 0,
        "sinks": c.attention_sinks,
        "alibi": any(layer.position == "alibi" for layer in c.layers),
        "value_width": any(value_width(c, layer) != key_width(c, layer) for layer in c.layers if layer.attends),
    }
    return [feature for feature, asked in asks.items() if asked]


def pattern(values: Sequence[T]) -> PerLayer[T]:
    """Returns a per-layer key in its shortest form: one value if all are alike, else the period that repeats."""
    n = len(values)
    p = next(p for p in range(1, n + 1) if all(values[i] == values[i % p] for i in range(n)))
    return values[0] if p == 1 else tuple(values[:p])
