"""What each attention backend supports; what it does not is refused by name, never done another way in silence."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from lm.common.errors import UserError


class Support(NamedTuple):
    """The features, dtypes and hardware of a backend, and how wide its heads may be: a multiple, at most so much.

    cuDNN's widths are those of GPUs before Hopper.

    All of them keep documents apart. Over a cache, one token at a time, every configuration decodes on `xla`: there
    the other backends' kernels have nothing to gain.
    """

    features: frozenset[str]
    dtypes: tuple[str, ...]
    platforms: tuple[str, ...]
    widths: tuple[int, int] | None = None


FEATURES = {
    "grouped": "fewer key/value heads than query heads",
    "window": "model.window",
    "softcap": "model.attention_softcap",
    "sinks": "model.attention_sinks",
    "alibi": "model.position=alibi",
    "value_width": "values as wide as keys are not",
    "context": "mesh.context",
}
_FLOATS = ("float32", "bfloat16")
_PLAIN = (*_FLOATS, "float16")
_KERNEL = frozenset({"grouped", "window", "softcap", "sinks", "value_width"})
BACKENDS: dict[str, Support] = {
    "xla": Support(frozenset(FEATURES) - {"context"}, _PLAIN, ("cpu", "gpu", "tpu")),
    "ring": Support(frozenset(FEATURES), _PLAIN, ("cpu", "gpu", "tpu")),
    "splash": Support(_KERNEL, _FLOATS, ("tpu",)),
    "splash_interpret": Support(_KERNEL, _FLOATS, ("cpu", "gpu", "tpu")),  # the same kernel, slowly: for tests
    "cudnn": Support(frozenset({"grouped", "window"}), ("bfloat16", "float16"), ("gpu",), (8, 128)),
}


def check(backend: str, features: Collection[str], dtype: str, width: int = 0) -> None:
    """Refuses what a backend does not support; `width` is that of a head's keys.

    Raises:
        UserError: the first feature it lacks, or the dtype, with the backends that have it; or the width.
    """
    support = BACKENDS[backend]
    for feature in features:
        if feature not in support.features:
            able = [name for name, other in BACKENDS.items() if feature in other.features]
            raise UserError(
                f"model.attention_backend={backend}: lacks {feature} ({FEATURES[feature]}); {', '.join(able)} have it"
            )
    if dtype not in support.dtypes:
        able = [name for name, other in BACKENDS.items() if dtype in other.dtypes]
        raise UserError(
            f"model.attention_backend={backend}: computes in {' or '.join(support.dtypes)}, not in "
            f"model.dtype={dtype}, which {', '.join(able)} do"
        )
    if support.widths is not None and (width % support.widths[0] or width > support.widths[1]):
        able = [name for name, other in BACKENDS.items() if other.widths is None]
        raise UserError(
            f"model.attention_backend={backend}: takes heads whose width (model.head_width, with latent attention's "
            f"rope_width) is a multiple of {support.widths[0]} and at most {support.widths[1]}, not {width}; "
            f"{', '.join(able)} take any"
        )


def check_hardware(backend: str, platform: str) -> None:
    """Refuses a backend on hardware that it does not run on.

    Raises:
        UserError: with the backends that do.
    """
    if platform not in BACKENDS[backend].platforms:
        able = [name for name, other in BACKENDS.items() if platform in other.platforms]
        raise UserError(
            f"model.attention_backend={backend}: runs on {' or '.join(BACKENDS[backend].platforms)}, and this is a "
            f"{platform}; choose one of {', '.join(able)}"
        )
