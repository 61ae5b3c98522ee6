"""Peak throughput: the row that fits best, and a measurement where none does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lm.common import hardware


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100 80GB PCIe", 312e12),
        ("NVIDIA GeForce RTX 3090 Ti", 80e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5", 459e12),
        ("NVIDIA L40S", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("cpu", None),
    ],
)
def test_the_row_is_of_the_very_chip(kind: str, peak: float | None) -> None:
    assert hardware.data_sheet_flops(kind) == peak


def peak(kind: str, platform: str, count: int) -> tuple[float, list[tuple[str, int]]]:
    """The peak of some devices, each of whose measurements gives 5 FLOP/s, and what was measured."""
    asked: list[tuple[str, int]] = []

    def measure(dtype: str, n: int) -> float:
        asked.append((dtype, n))
        return 5.0

    devices = [SimpleNamespace(device_kind=kind, platform=platform)] * count
    return hardware.peak_flops(devices, measure), asked


def test_devices_of_the_table_add_up_and_nothing_is_measured() -> None:
    assert peak("NVIDIA H100 PCIe", "gpu", 4) == (4 * 756e12, [])


def test_an_unlisted_gpu_is_measured_in_the_compute_dtype_and_counted() -> None:
    flops, ((dtype, n),) = peak("NVIDIA of tomorrow", "gpu", 4)
    assert (flops, dtype) == (20.0, "bfloat16")
    assert n >= 4096


def test_cpu_devices_share_their_cores() -> None:
    flops, ((dtype, _),) = peak("cpu", "cpu", 8)
    assert (flops, dtype) == (5.0, "float32")


def test_a_measurement_is_the_best_of_what_its_clock_said() -> None:
    readings = [0.0, *(0.0, 4.0), 4.0, *(4.0, 6.0), 6.0, *(6.0, 9.0), 9.0]  # products of 4, 2 and 3 seconds
    clock = iter(readings).__next__
    assert hardware.measured_matmul_flops("float32", 16, seconds=9.0, clock=clock) == 2 * 16**3 / 2.0
