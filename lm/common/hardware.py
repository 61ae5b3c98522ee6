"""What the hardware gains by: compute dtype and peak throughput."""

from __future__ import annotations

import time

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
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA L4": 121e12,
    "NVIDIA GeForce RTX 3090": 71e12,
    "NVIDIA GeForce RTX 4090": 165e12,
}


def compute_dtype() -> str:
    """Returns bfloat16 where matrix units gain by it (TPU, GPU) and float32 elsewhere."""
    return "float32" if jax.default_backend() == "cpu" else "bfloat16"


def peak_flops() -> float:
    """Returns the peak FLOP/s of all devices together: from the table, or measured where it has no row (CPUs)."""
    devices = jax.devices()
    names = sorted((name for name in PEAK_FLOPS if devices[0].device_kind.startswith(name)), key=len)
    # Simulated CPU devices share the same cores, so a CPU counts once.
    return PEAK_FLOPS[names[-1]] * len(devices) if names else measured_matmul_flops()


def measured_matmul_flops(n: int = 1024, seconds: float = 0.3) -> float:
    """Times square float32 products for `seconds` and returns the best rate seen, in FLOP/s."""
    product = jax.jit(lambda a: a @ a)
    a_NN = jnp.full((n, n), 1.0 / n, jnp.float32)
    product(a_NN).block_until_ready()
    best, start = 0.0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        before = time.perf_counter()
        product(a_NN).block_until_ready()
        best = max(best, 2 * n**3 / (time.perf_counter() - before))
    return best
