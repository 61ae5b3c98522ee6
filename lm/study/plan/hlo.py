"""Reads a compiled program's text: its loops and how often they run, its products, kernels and collectives.

A compiler's own cost analysis counts the body of a loop once and nothing of what a kernel does; here every instruction
counts as often as it runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

BYTES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
BYTES |= {"s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16}
COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")

_COMPUTATION = re.compile(r"(?P<entry>ENTRY )?%?(?P<name>[\w.\-<>]+) \(.*\) -> .* \{$")
_INSTRUCTION = re.compile(r"\s+(?P<root>ROOT )?%?(?P<name>[\w.\-<>]+) = (?P<rest>.*)$")
_ARRAY = re.compile(r"(\w+)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-<>]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_MESHED = re.compile(
    r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\((?:\[([\d,]+)\](?:T\(([\d,]+)\))?|([\d,]+))\))? ?\{([^}]*)\}"
)
_WAITS = ("-done", "-update")  # the later halves of what was counted when it started


@dataclass(frozen=True)
class Instruction:
    """One line of a computation: `name = type opcode(operands), attributes`."""

    name: str
    type: str
    opcode: str
    operands: tuple[str, ...]
    text: str
    root: bool

    def arrays(self) -> list[tuple[str, tuple[int, ...]]]:
        """Returns dtype and shape of each array that it makes."""
        return arrays(self.type)


@dataclass(frozen=True)
class Collective:
    """One kind of communication over some axes of the mesh.

    Attributes:
        kind: as the compiler calls it.
        axes: the mesh axes along which a group's devices differ.
        size: devices in a group.
        bytes: that a device takes in from others each time.
        times: it runs in one execution of the program.
    """

    kind: str
    axes: tuple[str, ...]
    size: int
    bytes: float
    times: int


@dataclass(frozen=True)
class Program:
    """A compiled module, by computation; `entry` is where it starts."""

    computations: dict[str, tuple[Instruction, ...]]
    entry: str

    @cached_property
    def runs(self) -> dict[str, int]:
        """How often each computation runs."""
        found: dict[str, int] = {}

        def visit(name: str, times: int) -> None:
            found[name] = found.get(name, 0) + times
            for line in self.computations.get(name, ()):
                if line.opcode.endswith(_WAITS):
                    continue
                each = times * (self.trips(line, name) if line.opcode == "while" else 1)
                for called in _called(line.text):
                    visit(called, each)

        visit(self.entry, 1)
        return found

    def trips(self, loop: Instruction, within: str) -> int:
        """Returns how often a `while` runs: what the compiler notes of it, else what its condition counts up to.

        Raises:
            ValueError: neither is to be seen.
        """
        if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.text):
            return int(known[1])
        condition = re.search(r"condition=%?([\w.\-<>]+)", loop.text)
        assert condition is not None
        bound, at = self._bound(condition[1])
        (state,) = loop.operands
        lines = {line.name: line for line in self.computations[within]}
        first = 0
        if state in lines and lines[state].opcode == "tuple" and at < len(lines[state].operands):
            first = _constant(lines.get(lines[state].operands[at])) or 0
        return max(bound - first, 0)

    def _bound(self, condition: str) -> tuple[int, int]:
        """Returns the number that a condition compares a part of the state with, and which part."""
        lines = {line.name: line for line in self.computations[condition]}
        root = next(line for line in lines.values() if line.root)
        operands = [lines[name] for name in root.operands]
        bounds = [value for line in operands if (value := _constant(line)) is not None]
        parts = [part for line in operands if (part := re.search(r"index=(\d+)", line.text))]
        if len(bounds) != 1 or len(parts) != 1:
            raise ValueError(f"{condition}: what the loop counts up to is not to be seen in {root.text}")
        return bounds[0], int(parts[0][1])

    def __iter__(self) -> Iterator[tuple[Instruction, str, int]]:
        """Yields every instruction with the computation it is in and how often it runs."""
        for name, times in self.runs.items():
            for line in self.computations.get(name, ()):
                yield line, name, times

    def flops(self) -> float:
        """Counts the operations of matrix products, kernels' left out."""
        total = 0.0
        for line, name, times in self:
            if line.opcode in ("dot", "convolution"):
                shapes = {other.name: other for other in self.computations[name]}
                left, right = (shapes[operand].arrays()[0][1] for operand in line.operands[:2])
                total += times * (_dot if line.opcode == "dot" else _convolution)(line, left, right)
        return total

    def kernels(self) -> dict[str, int]:
        """Returns how often each kernel runs, by its name less the compiler's numbering."""
        found: dict[str, int] = {}
        for line, _, times in self:
            if line.opcode == "custom-call" and 'custom_call_target="tpu_custom_call"' in line.text:
                name = line.name.split(".")[0]
                found[name] = found.get(name, 0) + times
        return found

    def collectives(self, mesh: Mapping[str, int]) -> list[Collective]:
        """Returns all communication on a mesh of these sizes, like with like."""
        found: dict[tuple[str, tuple[str, ...], int, float], int] = {}
        for line, name, times in self:
            kind = line.opcode.removesuffix("-start")
            if kind not in COLLECTIVES:
                continue
            payload = _payload(line, kind)
            if kind == "all-reduce" and name.startswith("all-reduce-scatter"):
                kind, payload = "reduce-scatter", payload / 2  # a TPU's is an all-reduce that keeps a slice
            group = _group(line.text, math.prod(mesh.values()))
            received = payload if kind == "collective-permute" else payload * (len(group) - 1) / len(group)
            if received:
                key = (kind, _axes(group, mesh), len(group), received)
                found[key] = found.get(key, 0) + times
        return [Collective(*key, times) for key, times in found.items()]


def read(text: str) -> Program:
    """Reads a module's text."""
    computations: dict[str, tuple[Instruction, ...]] = {}
    entry, name = "", ""
    lines: list[Instruction] = []
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            name, lines = head["name"], []
            entry = name if head["entry"] else entry
        elif line.startswith("}"):
            computations[name] = tuple(lines)
        elif name and (found := _INSTRUCTION.match(line)):
            lines.append(_instruction(found["name"], found["rest"], root=bool(found["root"])))
    assert entry in computations, "a module has an entry"
    return Program(computations, entry)


def _instruction(name: str, rest: str, *, root: bool) -> Instruction:
    split = _matching(rest) + 1 if rest.startswith("(") else rest.index(" ")
    kind, call = rest[:split], rest[split:].strip()
    opcode, _, arguments = call.partition("(")
    inside = arguments[: _matching("(" + arguments) - 1]
    operands = re.findall(r"%([\w.\-<>]+)", inside) or re.findall(r"([\w.\-<>]+)(?:,|$)", inside)
    return Instruction(name, kind, opcode, tuple(operands), call, root)


def _matching(text: str) -> int:
    """Returns where the bracket that opens `text` closes."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return at
    return len(text)


def _called(text: str) -> list[str]:
    found: list[str] = _CALLED.findall(text)
    if branches := _BRANCHES.search(text):
        found += re.findall(r"%?([\w.\-<>]+)", branches[1])
    return found


def _constant(line: Instruction | None) -> int | None:
    found = re.match(r"constant\((\d+)\)", line.text) if line is not None else None
    return int(found[1]) if found else None


def arrays(kind: str) -> list[tuple[str, tuple[int, ...]]]:
    """Returns dtype and shape of each array of a type."""
    found = [(dtype, tuple(int(n) for n in dims.split(",") if n)) for dtype, dims in _ARRAY.findall(kind)]
    return [array for array in found if array[0] in BYTES]


def _size(array: tuple[str, tuple[int, ...]]) -> int:
    return BYTES[array[0]] * math.prod(array[1])


def _dot(line: Instruction, left: Sequence[int], right: Sequence[int]) -> float:
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", line.text)
    inner = math.prod(left[int(i)] for i in contracted[1].split(",") if i) if contracted else 1
    return 2.0 * inner * math.prod(line.arrays()[0][1])


def _convolution(line: Instruction, left: Sequence[int], right: Sequence[int]) -> float:
    """Counts a convolution, as which a TPU computes products; a padded or dilated window misses some of its places."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", line.text)
    assert labels is not None
    out = line.arrays()[0][1]
    window = dict(re.findall(r"(\w+)=([\dx_\-]+)", m[1])) if (m := re.search(r"window=\{([^}]*)\}", line.text)) else {}
    total = right[labels[2].index("i")] * out[labels[3].index("b")] * out[labels[3].index("f")]
    for at in range(sum(label.isdigit() for label in labels[3])):
        taps, places = right[labels[2].index(str(at))], out[labels[3].index(str(at))]
        stride, dilation, base = (
            int(window[key].split("x")[at]) if key in window else 1 for key in ("stride", "rhs_dilate", "lhs_dilate")
        )
        low = int(window["pad"].split("x")[at].split("_")[0]) if "pad" in window else 0
        length = (left[labels[1].index(str(at))] - 1) * base + 1
        place_NK = np.arange(places)[:, None] * stride + np.arange(taps)[None, :] * dilation - low
        total *= int(np.sum((place_NK >= 0) & (place_NK < length) & (place_NK % base == 0)))
    return 2.0 * total


def _payload(line: Instruction, kind: str) -> float:
    """Returns the bytes that a collective's group passes to each device, those of the device itself among them."""
    sizes = [_size(array) for array in line.arrays() if array[1] or array[0] != "u32"]  # less a start's own counters
    if line.opcode.endswith("-start") and kind in ("all-gather", "collective-permute") and len(sizes) > 1:
        sizes = sizes[len(sizes) // 2 :]  # what it takes stands before what it makes
    if kind == "reduce-scatter":
        return float(sum(sizes) * len(_group(line.text, 1)))
    return float(sum(sizes) * (2 if kind == "all-reduce" else 1))


def _group(text: str, devices: int) -> list[int]:
    """Returns the devices of the first group of a collective."""
    if pairs := re.search(r"source_target_pairs=\{(\{[\d,{}]+\})\}", text):
        moves = [(int(a), int(b)) for a, b in re.findall(r"\{(\d+),(\d+)\}", pairs[1])]
        return list(next((move for move in moves if move[0] != move[1]), moves[0]))
    if listed := re.search(r"replica_groups=\{\{([\d,]+)\}", text):
        return [int(n) for n in listed[1].split(",")]
    if counted := re.search(r"replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", text):
        shape, source = ([int(n) for n in counted[i].split(",")] for i in (1, 2))
        order = [int(n) for n in counted[3].split(",")] if counted[3] else list(range(len(source)))
        ids = np.arange(math.prod(source)).reshape(source).transpose(order).reshape(shape[0], -1)
        return ids[0].tolist()
    if meshed := _MESHED.search(text):
        return _along(*meshed.groups())
    return list(range(devices))


def _along(mesh: str, order: str | None, turned: str | None, listed: str | None, used: str) -> list[int]:
    """Returns the first group of devices that lies along some axes, or parts of them, of the compiler's own mesh."""
    sizes = {name: int(size) for name, size in re.findall(r"'(\w+)'=(\d+)", mesh)}
    ids = np.arange(math.prod(sizes.values()))
    if order is not None:
        ids = ids.reshape([int(n) for n in order.split(",")])
        ids = ids.transpose([int(n) for n in turned.split(",")]) if turned else ids
    elif listed is not None:
        ids = np.array([int(n) for n in listed.split(",")])
    ids = ids.reshape(tuple(sizes.values()))
    inside: list[slice] = [slice(0, 1)] * len(sizes)
    for name, before, part in re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", used):
        size = sizes[name]
        after = size // (int(before) * int(part)) if part else 1
        inside[list(sizes).index(name)] = slice(0, after * int(part) if part else size, after)
    return ids[tuple(inside)].reshape(-1).tolist()


def _axes(group: Sequence[int], mesh: Mapping[str, int]) -> tuple[str, ...]:
    """Returns the mesh axes along which some of the devices differ."""
    places = np.stack(np.unravel_index(np.asarray(group), tuple(mesh.values())), axis=1)
    return tuple(name for i, name in enumerate(mesh) if len(set(places[:, i].tolist())) > 1)
