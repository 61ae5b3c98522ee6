"""What the hardware gains by: compute dtype, products in eight bits, and peak throughput."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

# Dense bf16 FLOP/s of one chip, from the makers' data sheets.
PEAK_FLOPS: dict[str, float] = {
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
    "TPU v6e": 918e12,
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,  # SXM
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H100 NVL": 835e12,
    "NVIDIA H200": 989e12,  # SXM
    "NVIDIA H200 NVL": 835e12,
    "NVIDIA L4": 121e12,
    "NVIDIA GeForce RTX 3090": 71e12,
    "NVIDIA GeForce RTX 3090 Ti": 80e12,
    "NVIDIA GeForce RTX 4090": 165e12,
}
# Parts of a chip, or slower chips of the same name: the row of the whole chip says nothing of them.
_OTHER_CHIPS = {"MIG", "Laptop", "D"}


# TPUs that multiply eight bits faster than bfloat16, by JAX's names, and the first of NVIDIA's generations that does.
_EIGHT_BIT_TPUS = {
    "int8": ("TPU v5 lite", "TPU v5e", "TPU v5", "TPU v5p", "TPU v6 lite", "TPU v6e"),
    "fp8": ("TPU7x",),
}
_EIGHT_BIT_GPUS = {"int8": (7, 5), "fp8": (8, 9)}
WITH_UNITS = {
    "int8": "TPU v5e, v5p and v6e, and NVIDIA GPUs from compute capability 7.5 on",
    "fp8": "TPU7x, and NVIDIA GPUs from compute capability 8.9 on",
}


def multiplies(kind: str, device: Any) -> bool:
    """Says whether a device has units that multiply numbers of eight bits: `int8` or `fp8`."""
    if device.platform == "tpu":
        return device.device_kind in _EIGHT_BIT_TPUS[kind]
    parts = str(getattr(device, "compute_capability", "")).split(".")
    if device.platform != "gpu" or not all(part.isdecimal() for part in parts):  # AMD's are no numbers
        return False
    return tuple(map(int, parts)) >= _EIGHT_BIT_GPUS[kind]


HOST = "pinned_host"  # JAX's name for a machine's memory from which its accelerators copy


def reaches_host(device: Any) -> bool:
    """Says whether arrays of a device can lie in its machine's memory, and be used from there in a compiled step."""
    return any(memory.kind == HOST for memory in device.addressable_memories())


def compute_dtype() -> str:
    """Returns bfloat16 where matrix units gain by it (TPU, GPU) and float32 elsewhere."""
    return _dtype(jax.default_backend())


def _dtype(platform: str) -> str:
    return "float32" if platform == "cpu" else "bfloat16"


def device_bytes() -> int | None:
    """Returns how much memory a device has, None where the backend does not tell."""
    stats = jax.local_devices()[0].memory_stats()
    return int(stats["bytes_limit"]) if stats and "bytes_limit" in stats else None


def data_sheet_flops(device_kind: str) -> float | None:
    """Returns the FLOP/s in the row of the most specific name that begins `device_kind`, or None without a row."""
    words = device_kind.replace("-", " ").split()
    if _OTHER_CHIPS & set(words):
        return None
    # By whole words: an L40 is no L4.
    names = [name for name in PEAK_FLOPS if words[: len(name.split())] == name.split()]
    return PEAK_FLOPS[max(names, key=len)] if names else None


def measured_matmul_flops(
    dtype: str, n: int, seconds: float = 0.3, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Times products of n × n matrices of a dtype on the first device and returns the best rate seen, in FLOP/s."""
    product = jax.jit(lambda a: a @ a)
    a_NN = jnp.full((n, n), 1.0 / n, dtype)
    product(a_NN).block_until_ready()
    best, start = 0.0, clock()
    while best == 0.0 or clock() - start < seconds:
        before = clock()
        product(a_NN).block_until_ready()
        best = max(best, 2 * n**3 / (clock() - before))
    return best


def peak_flops(
    devices: Sequence[Any] | None = None, measure: Callable[[str, int], float] = measured_matmul_flops
) -> float:
    """Returns the peak FLOP/s of all devices together: from the table, or measured where it has no row.

    `measure` takes a dtype and a matrix size.
    """
    devices = jax.devices() if devices is None else devices
    if (listed := data_sheet_flops(devices[0].device_kind)) is not None:
        return listed * len(devices)
    if (platform := devices[0].platform) == "cpu":
        return measure(_dtype(platform), 1024)  # simulated devices share the same cores, so a CPU counts once
    # Large enough that an accelerator's time is the product's and not the launch's.
    return measure(_dtype(platform), 8192) * len(devices)
