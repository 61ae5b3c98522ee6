"""Compiled programs: loops count as often as they run, and collectives by the axes their groups lie along."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from lm.study.plan import hlo

MESH = {"data": 2, "fsdp": 4, "tensor": 2}


def program(body: str, *, more: str = "") -> hlo.Program:
    """Returns a module whose entry holds these lines."""
    return hlo.read(f"HloModule it\n{more}\nENTRY %main (p: f32[8]) -> f32[8] {{\n{body}\n}}\n")


def test_a_product_in_a_loop_counts_as_often_as_it_runs() -> None:
    def step(x: jax.Array, w: jax.Array) -> tuple[jax.Array, None]:
        return jnp.tanh(x @ w), None

    def all_of_them(x: jax.Array, ws: jax.Array) -> jax.Array:
        twice = jax.lax.scan(lambda y, _: (jax.lax.scan(step, y, ws)[0], None), x, None, length=3)[0]
        return twice @ ws[0]

    shapes = (jax.ShapeDtypeStruct((128, 64), jnp.float32), jax.ShapeDtypeStruct((5, 64, 64), jnp.float32))
    text = jax.jit(all_of_them).lower(*shapes).compile().as_text()
    assert text is not None
    assert hlo.read(text).flops() == (3 * 5 + 1) * 2 * 128 * 64 * 64


def test_a_loop_without_a_note_runs_up_to_what_its_condition_compares_with() -> None:
    more = """
%cond (s: (s32[], f32[8])) -> pred[] {
  %c = s32[]{:T(128)} constant(12)
  %s = (s32[]{:T(128)}, f32[8]{0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%s), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %c), direction=LT
}

%body (s: (s32[], f32[8])) -> (s32[], f32[8]) {
  %s = (s32[], f32[8]) parameter(0)
  ROOT %all-reduce.1 = f32[8]{0} all-reduce(%s), replica_groups={{0,1},{2,3}}, to_apply=%add
}
"""
    body = """
  %two = s32[] constant(2)
  %t = (s32[], f32[8]) tuple(%two, %p)
  %w = (s32[], f32[8]) while(%t), condition=%cond, body=%body"""
    found = program(body, more=more)
    assert found.runs["body"] == 10
    (only,) = found.collectives(MESH)
    assert (only.kind, only.axes, only.size, only.times) == ("all-reduce", ("tensor",), 2, 10)
    assert only.bytes == 2 * 32 / 2


@pytest.mark.parametrize(
    ("groups", "axes", "size"),
    [
        ("{{0,1},{2,3},{4,5},{6,7},{8,9},{10,11},{12,13},{14,15}}", ("tensor",), 2),
        ("{{0,2,4,6},{1,3,5,7},{8,10,12,14},{9,11,13,15}}", ("fsdp",), 4),
        ("[8,2]<=[16]", ("tensor",), 2),
        ("[8,2]<=[2,8]T(1,0)", ("data",), 2),
        ("[4,4]<=[2,4,2]T(0,2,1)", ("fsdp",), 4),
        ("[2,8]<=[16]", ("fsdp", "tensor"), 8),
        ("mesh['axis_0'=2,'axis_1'=4,'axis_2'=2] {'axis_1'}", ("fsdp",), 4),
        ("mesh['axis_0'=16] {'axis_0'}", ("data", "fsdp", "tensor"), 16),
        ("mesh['a'=4,'b'=2,'c'=2], device_ids=([2,4,2]T(1,0,2)) {'a'}", ("fsdp",), 4),
        ("mesh['a'=4,'b'=2,'c'=2], device_ids=([2,4,2]T(1,0,2)) {'b'}", ("data",), 2),
        ("mesh['a'=16] {'a':(1)2}", ("data",), 2),
        ("mesh['a'=16] {'a':(2)4}", ("fsdp",), 4),
        ("mesh['a'=16] {'a':(8)2}", ("tensor",), 2),
        ("{}", ("data", "fsdp", "tensor"), 16),
    ],
)
def test_a_group_lies_along_axes(groups: str, axes: tuple[str, ...], size: int) -> None:
    line = f"  %all-gather.1 = f32[32,4]{{1,0}} all-gather(%p), replica_groups={groups}, dimensions={{0}}"
    (found,) = program(line).collectives(MESH)
    assert (found.axes, found.size, found.bytes) == (axes, size, 512 * (size - 1) / size)


@pytest.mark.parametrize(
    ("line", "kind", "received"),
    [
        ("f32[32]{0} all-gather(%p)", "all-gather", 128 * 3 / 4),
        ("(f32[8]{0}, f32[32]{0}) all-gather-start(%p)", "all-gather", 128 * 3 / 4),
        ("f32[32]{0} all-gather-done(%p)", "", 0),
        ("f32[8]{0} all-reduce(%p)", "all-reduce", 2 * 32 * 3 / 4),
        ("(f32[8]{0}, bf16[8]{0}) all-reduce(%p, %q)", "all-reduce", 2 * 48 * 3 / 4),
        ("f32[2]{0} reduce-scatter(%p)", "reduce-scatter", 32 * 3 / 4),
        ("bf16[8]{0} all-to-all(%p)", "all-to-all", 16 * 3 / 4),
    ],
)
def test_bytes_that_a_device_takes_in(line: str, kind: str, received: float) -> None:
    found = program(f"  %x = {line}, replica_groups={{{{0,2,4,6}}}}").collectives(MESH)
    assert [(each.kind, each.bytes) for each in found] == ([(kind, received)] if kind else [])


def test_a_permutation_passes_all_it_has() -> None:
    line = (
        "  %x = (bf16[8]{0}, bf16[8]{0}, u32[]{:S(2)}, u32[]{:S(2)}) collective-permute-start(%p), "
        "source_target_pairs={{0,8},{8,0}}"
    )
    (found,) = program(line).collectives(MESH)
    assert (found.kind, found.axes, found.bytes) == ("collective-permute", ("data",), 16)


def test_a_tpus_reduce_scatter_is_an_all_reduce_that_keeps_a_slice() -> None:
    more = """
%all-reduce-scatter.1 (q: f32[32]) -> f32[8] {
  %q = f32[32]{0} parameter(0)
  ROOT %all-reduce.1 = f32[32]{0} all-reduce(%q), replica_groups={{0,2,4,6}}, to_apply=%add
}
"""
    (found,) = program("  %f = f32[8] fusion(%p), kind=kCustom, calls=%all-reduce-scatter.1", more=more).collectives(
        MESH
    )
    assert (found.kind, found.bytes) == ("reduce-scatter", 128 * 3 / 4)


def test_a_convolution_is_a_product() -> None:
    lines = """
  %a = bf16[512,64]{1,0} parameter(1)
  %b = bf16[64,32]{1,0} parameter(2)
  %x = bf16[512,32]{1,0} convolution(%a, %b), dim_labels=bf_io->bf"""
    assert program(lines).flops() == 2 * 512 * 64 * 32


def test_of_a_window_only_what_lies_on_the_array_counts() -> None:
    # Sixteen products side by side, as a convolution whose window meets one entry of its dimension at a time.
    lines = """
  %a = bf16[16,512,64]{2,1,0} parameter(1)
  %b = bf16[16,64,32]{2,1,0} parameter(2)
  %x = bf16[16,512,32]{2,1,0} convolution(%a, %b), window={size=16 stride=15 lhs_dilate=16}, dim_labels=0bf_0io->0bf"""
    assert program(lines).flops() == 16 * 2 * 512 * 64 * 32


def test_kernels_are_counted_by_name() -> None:
    line = '  %splash_mha_fwd.{} = bf16[8]{{0}} custom-call(%p), custom_call_target="tpu_custom_call"'
    assert program("\n".join(line.format(n) for n in (3, 7))).kernels() == {"splash_mha_fwd": 2}
