"""Chips and slices: names that are no slice are refused, and a torus brings links as it is long."""

from __future__ import annotations

import pytest

from lm.common import hardware
from lm.common.errors import UserError
from lm.study.plan import chips
from lm.study.plan.chips import CHIPS, axis_bandwidth, parse


def test_a_slice_is_so_many_chips() -> None:
    assert parse("v5p:8x16x16").chips == 2048
    assert parse("v6e:16x16").chips == 256
    assert parse("rtx4090").chips == 1
    assert parse("h100:2x8").chips == 16
    assert parse("tpu7x:2x2x2").devices == 16  # two a chip, each with half of it
    assert parse("tpu7x:2x2x2").hbm == CHIPS["tpu7x"].hbm // 2


@pytest.mark.parametrize(
    ("topology", "message"),
    [
        ("v9:2x2", "no such chip; known: v4, v5e"),
        ("v5p:8x8", "wired in 3 dimensions; give one such as v5p:4x4x4"),
        ("v5p", "wired in 3 dimensions"),
        ("v5p:0x4x4", "give the chips along each dimension"),
        ("v5p:4×4×4", "give the chips along each dimension"),
        ("h100:2x2x2", "nodes and the GPUs of one, such as h100:2x8"),
    ],
)
def test_what_is_no_slice_is_refused(topology: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(topology)


KINDS = {"v4": "TPU v4", "v5e": "TPU v5e", "v5p": "TPU v5p", "v6e": "TPU v6e", "a100": "NVIDIA A100"}
KINDS |= {"h100": "NVIDIA H100", "rtx3090": "NVIDIA GeForce RTX 3090", "rtx4090": "NVIDIA GeForce RTX 4090"}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_the_peak_is_that_by_which_training_counts_mfu(name: str, kind: str) -> None:
    assert CHIPS[name].flops == hardware.data_sheet_flops(kind)


def test_a_ring_brings_two_links_a_dimension_and_a_line_one() -> None:
    link = CHIPS["v5p"].link
    where = parse("v5p:4x4x4")
    assert axis_bandwidth(where, 4) == 2 * link
    assert axis_bandwidth(where, 16) == 4 * link
    assert axis_bandwidth(where, 64) == 6 * link
    assert axis_bandwidth(parse("v5p:2x2x1"), 4) == 2 * link  # two lines of two
    assert axis_bandwidth(parse("v6e:16x16"), 256) == 4 * CHIPS["v6e"].link
    assert axis_bandwidth(parse("v6e:8x8"), 8) == CHIPS["v6e"].link  # too short for its ends to be joined


def test_gpus_leave_their_node_over_the_network() -> None:
    where, h100 = parse("h100:4x8"), CHIPS["h100"]
    assert axis_bandwidth(where, 8) == h100.link
    assert axis_bandwidth(where, 16) == h100.network


def test_this_machine_is_no_chip() -> None:
    assert not set(chips.LOCAL) & set(CHIPS)
