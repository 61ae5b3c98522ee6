"""The search: every split of the devices, the impossible left out, the rest by time, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lm.model import presets
from lm.study.plan import duration, search
from lm.study.plan.chips import parse
from lm.study.plan.layout import Job, Layout
from lm.study.plan.work import keys_seen, work

MODEL = replace(presets.get("llama3.2-1b"), max_seq_len=2048, dtype="bfloat16", attention_backend="splash")
JOB = Job(MODEL, 64, loss_chunk=512)
RATES = duration.Rates({"v5e": 0.8}, attention=0.5, hidden=0.5, waited=0.75)


def test_every_mesh_takes_all_devices_once() -> None:
    found = list(search.meshes(JOB, 16))
    assert all(layout.devices == 16 for layout in found)
    assert len(set(found)) == len(found)
    assert {layout.tensor for layout in found} == {1, 2, 4, 8}  # as many as divide its 8 key/value heads
    assert {layout.context for layout in found} == {1}
    assert any(layout.context == 4 for layout in search.meshes(Job(replace(MODEL, attention_backend="ring"), 64), 16))


def test_experts_are_spread_where_there_are_some() -> None:
    mixtral = presets.get("mixtral-8x7b")
    assert {layout.expert for layout in search.meshes(Job(mixtral, 64), 16)} == {1, 2, 4, 8}


def test_what_fits_is_ranked_by_time() -> None:
    where = parse("v5e:4x4")
    found = search.search(JOB, where, RATES)
    seconds = [candidate.step.seconds for candidate in found.found]
    assert seconds == sorted(seconds)
    assert all(candidate.memory.total <= search.FILLED * where.hbm for candidate in found.found)
    assert len({tuple(c.layout.mesh.values()) for c in found.by_mesh}) == len(found.by_mesh)
    said = search.reasons(found, found.found[0], where)
    assert said[0].startswith(f"{found.found[0].layout} is the quickest of {len(found.found)}")
    assert "The next mesh" in said[2]


def test_reasons_are_of_what_was_compiled_where_that_was_several() -> None:
    """The compiler may turn the order on paper round; then nothing is slower than what is slower on paper alone."""
    where = parse("v5e:2x2")
    found = search.search(JOB, where, RATES)
    first, second = found.by_mesh[:2]
    steps = [(first, replace(first.step, wire=first.step.wire + 1.0)), (second, replace(first.step, update=0.25))]
    said = search.reasons(found, second, where, steps)
    assert said[0].startswith(
        f"{second.layout} is the quickest of the 2 that were compiled, which are the best meshes of"
    )
    slower = steps[0][1].seconds / steps[1][1].seconds - 1
    assert said[2] == (
        f"The next mesh, {first.layout}, is {slower:.1%} slower: it waits for other devices 1.00 s longer."
    )


def test_a_small_chip_takes_micro_batches_or_computes_again() -> None:
    small, large = parse("v5e:1x1"), parse("v5p:1x1x1")
    job = replace(JOB, model=replace(MODEL, n_layers=4))
    on_small, on_large = (search.search(job, where, RATES).found[0].layout for where in (small, large))
    assert on_small.microbatches > on_large.microbatches


def test_nothing_fits_a_chip_that_is_too_small() -> None:
    found = search.search(Job(replace(presets.get("llama3-70b"), max_seq_len=512), 8), parse("rtx4090"), RATES)
    assert found.found == []
    assert found.smallest is not None
    assert found.smallest > 70e9 * 12


def test_what_is_given_is_held() -> None:
    found = search.search(JOB, parse("v5p:2x2x1"), RATES, remats=["block"], microbatches=2)
    assert {(c.layout.remat, c.layout.microbatches) for c in found.found} == {("block", 2)}


@pytest.mark.parametrize(
    ("length", "window", "blocks", "seen"),
    [(2048, 0, False, 2048), (2048, 0, True, 512 * 2.5), (512, 0, True, 512), (2048, 512, True, 512 * 1.75)],
)
def test_keys_that_a_query_meets(length: int, window: int, blocks: bool, seen: float) -> None:
    assert keys_seen(length, window, blocks=blocks) == seen


def test_traffic_of_a_training_step() -> None:
    """Against a program compiled for four v5p chips by libtpu 0.0.42.1, four layers of a Llama."""
    base = replace(
        presets.get("llama3-8b"), n_layers=4, d_model=2048, n_heads=16, d_ff=8192, vocab_size=32_000, max_seq_len=2048
    )
    model = replace(base, dtype="bfloat16", attention_backend="splash")
    by_tensor = work(Job(model, 4, loss_chunk=512), Layout(tensor=4, remat="block"))
    assert by_tensor.product_flops == 4_922_032_521_216
    assert sum(t.bytes for t in by_tensor.traffic) == 21 * 50_331_648 + 4 * 12_582_912
    by_data = work(Job(replace(model, max_seq_len=1024), 4, loss_chunk=512), Layout(data=4, remat="block"))
    assert sum(t.bytes for t in by_data.traffic) == pytest.approx(2 * 393_216_000 + 4 * 188_743_680, rel=1e-4)
    by_fsdp = work(Job(model, 16, loss_chunk=512), Layout(fsdp=4, remat="block"))
    assert by_fsdp.product_flops == 19_688_130_084_864
    gathered = sum(t.bytes for t in by_fsdp.traffic if t.kind == "all-gather")
    assert gathered == pytest.approx(8 * 98_304_000 + 24 * (25_165_824 + 6_291_456 + 3_145_728), rel=0.06)
