"""What accelerators can do, from their makers' data sheets, and the slices that are made of them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from lm.common.errors import UserError

GB, GIB = 10**9, 1 << 30


@dataclass(frozen=True)
class Chip:
    """One accelerator; rates are a second, and a link's are in one direction.

    Attributes:
        name: as topologies are named by it.
        flops: dense bfloat16 operations.
        hbm: bytes of memory.
        bandwidth: bytes between memory and chip.
        link: bytes to one neighbour in the torus, or to all other chips of a node of GPUs together.
        torus: dimensions of the network between TPUs; 0 for GPUs.
        ring: chips along a dimension of the torus from which on the ends are joined.
        network: bytes between nodes, for each GPU.
        cores: devices that JAX sees of a chip.
        price: US dollars an hour: the public list price on demand, in the cheapest region of the United States; it
            differs by region and contract, so it can be set. None where no maker lists one.
    """

    name: str
    flops: float
    hbm: int
    bandwidth: float
    link: float
    torus: int = 0
    ring: int = 0
    network: float = 0.0
    cores: int = 1
    price: float | None = None

    @property
    def is_tpu(self) -> bool:
        """Whether the compiler for it is libtpu."""
        return self.torus > 0


# Google Cloud's pages on each TPU, whose figure of the network is for all links and both directions; NVIDIA's data
# sheets of the SXM boards, of the DGX systems they come in, and of the GeForce cards.
CHIPS = {
    chip.name: chip
    for chip in (
        Chip("v4", 275e12, 32 * GIB, 1228e9, 50e9, torus=3, ring=4, price=3.22),
        Chip("v5e", 197e12, 16 * GIB, 819e9, 50e9, torus=2, ring=16, price=1.20),
        Chip("v5p", 459e12, 95 * GIB, 2765e9, 100e9, torus=3, ring=4, price=4.20),
        Chip("v6e", 918e12, 32 * GIB, 1638e9, 100e9, torus=2, ring=16, price=2.70),
        Chip("tpu7x", 2307e12, 192 * GIB, 7380e9, 100e9, torus=3, ring=4, cores=2),
        Chip("a100", 312e12, 80 * GB, 2039e9, 300e9, network=25e9),
        Chip("h100", 989e12, 80 * GB, 3350e9, 450e9, network=50e9),
        Chip("h200", 989e12, 141 * GB, 4800e9, 450e9, network=50e9),
        Chip("rtx3090", 71e12, 24 * GIB, 936e9, 32e9),
        Chip("rtx4090", 165e12, 24 * GIB, 1008e9, 32e9),
    )
}
LOCAL = ("cpu", "gpu")  # this machine, whatever it is


@dataclass(frozen=True)
class Slice:
    """Chips that are wired together: a torus of TPUs, or nodes of GPUs.

    Attributes:
        topology: as it was asked for.
        chip: what it is made of.
        dims: chips along each dimension of the torus; nodes and the GPUs of one.
    """

    topology: str
    chip: Chip
    dims: tuple[int, ...]

    @property
    def chips(self) -> int:
        """How many there are."""
        return math.prod(self.dims)

    @property
    def devices(self) -> int:
        """How many devices JAX sees, each of which has a share of its chip."""
        return self.chips * self.chip.cores

    @property
    def dtype(self) -> str:
        """What is computed in where a config leaves it open."""
        return "float32" if self.topology == "cpu" else "bfloat16"

    @property
    def hbm(self) -> int:
        """Bytes of memory of a device."""
        return self.chip.hbm // self.chip.cores

    @property
    def flops(self) -> float:
        """Dense bfloat16 operations of a device."""
        return self.chip.flops / self.chip.cores

    @property
    def bandwidth(self) -> float:
        """Bytes between memory and a device."""
        return self.chip.bandwidth / self.chip.cores


def parse(topology: str) -> Slice:
    """Returns the slice that a name such as `v5p:4x4x4`, `h100:2x8` (nodes of 8 GPUs) or `rtx4090` stands for.

    Raises:
        UserError: an unknown chip, or numbers that are no shape of it.
    """
    name, _, shape = topology.partition(":")
    if name not in CHIPS:
        raise UserError(f"--topology={topology}: no such chip; known: {', '.join((*CHIPS, *LOCAL))}")
    chip = CHIPS[name]
    if not re.fullmatch(r"([1-9]\d*(x[1-9]\d*)*)?", shape):
        raise UserError(f"--topology={topology}: give the chips along each dimension, such as {_example(chip)}")
    dims = tuple(int(size) for size in shape.split("x")) if shape else (1,)
    if chip.is_tpu and len(dims) != chip.torus:
        raise UserError(
            f"--topology={topology}: {name} is wired in {chip.torus} dimensions; give one such as {_example(chip)}"
        )
    if not chip.is_tpu and len(dims) > 2:
        raise UserError(f"--topology={topology}: give nodes and the GPUs of one, such as {_example(chip)}")
    return Slice(topology, chip, dims)


def _example(chip: Chip) -> str:
    return f"{chip.name}:" + {0: "2x8", 2: "16x16", 3: "4x4x4"}[chip.torus]


def axis_bandwidth(where: Slice, size: int) -> float:
    """Returns the bytes a second that a device can take in from the others along a mesh axis of `size` devices.

    On a torus the axis lies along as few dimensions as hold it, the longest first; each brings one link, and a second
    one where its ends are joined. Among GPUs it is the link within a node, the network beyond.
    """
    chip = where.chip
    if not chip.is_tpu:
        inside = size <= where.dims[-1] or not chip.network
        return chip.link if inside else chip.network
    held, links = chip.cores, 0
    for length in sorted(where.dims, reverse=True):
        if held < size and length > 1:
            held *= length
            links += 2 if length >= chip.ring else 1
    return max(links, 1) * chip.link / chip.cores
