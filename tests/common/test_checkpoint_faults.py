"""Flipped bits, lost files, kills and full disks: what is wrong is named, and what was good stays good."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from lm.common.checkpoint import Checkpoints
from lm.common.errors import UserError

FALLBACK = "--config.train.restore_fallback=True"
MakeState = Callable[..., dict[str, Any]]
AssertSame = Callable[[Any, Any], None]
RunPython = Callable[..., subprocess.CompletedProcess[str]]


def data_files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file())


def flip_bit(path: Path, bit: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(bytes(raw))


def damage(checkpoints: Checkpoints, step: int) -> None:
    """Flips a bit in the largest file of a step: the arrays themselves."""
    path = max(data_files(checkpoints.directory / str(step) / "state"), key=lambda file: file.stat().st_size)
    flip_bit(path, path.stat().st_size * 4)


def test_a_flipped_bit_is_named_or_harmless(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make_state: MakeState, assert_same: AssertSame
) -> None:
    """One bit in every file in turn, at seeded places: a named error, or arrays and extra bit-equal."""
    state, extra = make_state(1, width=200), {"examples": 12}
    with Checkpoints(tmp_path) as writer:
        writer.save(1, state, extra, {"val/loss": 1.0})
    reader, rng, named = Checkpoints(tmp_path), random.Random(0), set()
    for path in data_files(tmp_path):
        for bit in sorted(rng.randrange(path.stat().st_size * 8) for _ in range(12)):
            flip_bit(path, bit)
            message = ""
            try:
                restored = reader.restore(state)
            except UserError as error:
                message = str(error)
            if message:
                named.add(path.relative_to(tmp_path / "1").parts[0])
                assert message.startswith(f"{tmp_path / '1'}: ")
                assert "\n" not in message
                assert FALLBACK in message
            else:
                assert_same(restored.state, state)
                assert restored.extra == extra
            flip_bit(path, bit)
    assert named == {"state", "record"}
    assert capfd.readouterr() == ("", "")


def test_every_damaged_leaf_is_named_and_no_other(checkpoints: Checkpoints) -> None:
    state = {"params": {name: jax.random.bits(jax.random.key(i), (900,)) for i, name in enumerate("abcd")}}
    checkpoints.save(1, state, {})
    checkpoints.wait()
    for name in "bd":  # bits without pattern are stored as they are, and so are found in the files
        raw = np.asarray(state["params"][name]).tobytes()
        path = next(file for file in data_files(checkpoints.directory) if raw[:64] in file.read_bytes())
        flip_bit(path, (path.read_bytes().index(raw[:64]) + 5) * 8)
    with pytest.raises(UserError) as caught:
        checkpoints.restore(state)
    assert "content differs from what was saved: params.b, params.d;" in str(caught.value)
    with pytest.raises(UserError, match=r"params\.b, params\.d; other checkpoints here: \[\]"):
        checkpoints.restore_params()


@pytest.mark.parametrize("item", ["state/manifest.ocdbt", "record/metadata"])
def test_a_missing_file_is_damage(checkpoints: Checkpoints, item: str, make_state: MakeState) -> None:
    checkpoints.save(1, make_state(1), {})
    checkpoints.wait()
    (checkpoints.directory / "1" / item).unlink()
    with pytest.raises(UserError, match="readable"):
        checkpoints.restore(make_state(1))


def test_fallback_goes_to_the_newest_that_verifies_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], make_state: MakeState, assert_same: AssertSame
) -> None:
    with Checkpoints(tmp_path, keep_last=4, keep_best=0) as checkpoints:
        for step in (1, 2, 3, 4):
            checkpoints.save(step, make_state(step, width=200), {"examples": step})
        checkpoints.wait()
        damage(checkpoints, 4)
        damage(checkpoints, 3)
        like = make_state(1, width=200)
        with pytest.raises(UserError, match=FALLBACK):
            checkpoints.restore(like)
        assert checkpoints.steps() == [1, 2, 3, 4]
        restored = checkpoints.restore(like, fallback=True)
        assert (restored.step, restored.extra) == (2, {"examples": 2})
        assert_same(restored.state, make_state(2, width=200))
        lines = capfd.readouterr().err.splitlines()
        assert [line.split(": ")[0] for line in lines] == [str(tmp_path / "4"), str(tmp_path / "3")]
        assert all("put aside as" in line for line in lines)
        # the run goes on from there, through the very steps that were damaged
        for step in (3, 4):
            checkpoints.save(step, make_state(step, width=200), {"examples": step})
        assert_same(checkpoints.restore(like).state, make_state(4, width=200))
        assert checkpoints.steps() == [1, 2, 3, 4]


def test_fallback_with_nothing_that_verifies_is_an_error_and_leaves_all_in_place(
    checkpoints: Checkpoints, make_state: MakeState
) -> None:
    for step in (1, 2):
        checkpoints.save(step, make_state(step, width=200), {})
    checkpoints.wait()
    for step in (1, 2):
        damage(checkpoints, step)
    with pytest.raises(UserError, match=r"no checkpoint verifies \(2: .*; 1: .*\)"):
        checkpoints.restore(make_state(1, width=200), fallback=True)
    assert checkpoints.steps() == [1, 2]  # else the same command would silently train from scratch


def test_half_a_checkpoint_is_never_seen_after_kill_9(tmp_path: Path) -> None:
    """A child saves one checkpoint after another and is killed at seeded moments; what is there then is whole."""
    child = """
        import sys
        from pathlib import Path
        import jax.numpy as jnp
        from lm.common.checkpoint import Checkpoints
        checkpoints = Checkpoints(Path(sys.argv[1]))
        step = checkpoints.latest() or 0
        while True:
            step += 1
            checkpoints.save(step, {"params": {"a": jnp.full(300_000, step, jnp.float32) + jnp.arange(300_000)}}, {})
            print(step, flush=True)
    """
    rng, reached = random.Random(1), 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(child), tmp_path],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(3):
            reached = int(process.stdout.readline())
        time.sleep(rng.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        rest = process.communicate()[0].split()
        reached = max([reached, *map(int, rest)])
        step, params, _ = Checkpoints(tmp_path).restore_params()
        assert reached - 1 <= step <= reached + 1
        assert np.array_equal(params["a"], np.float32(step) + np.arange(300_000, dtype=np.float32))


@pytest.mark.parametrize("async_save", [True, False])
def test_a_full_disk_is_one_line_and_earlier_checkpoints_stay(
    tmp_path: Path, async_save: bool, run_python: RunPython
) -> None:
    """A file-size limit stands in for a full disk, twice, and then there is room again."""
    child = """
        import resource, sys
        from pathlib import Path
        import jax.numpy as jnp, numpy as np
        from lm.common.checkpoint import Checkpoints
        from lm.common.errors import UserError
        state = lambda step: {"params": {"a": jnp.asarray(np.random.default_rng(step).normal(size=200_000))}}
        limit = lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
        checkpoints = Checkpoints(Path(sys.argv[1]), async_save=sys.argv[2] == "True")
        checkpoints.save(1, state(1), {})
        checkpoints.wait()
        for step, most in ((2, 100_000), (3, 3_000)):
            limit(most)
            try:
                checkpoints.save(step, state(step), {})
                checkpoints.wait()
            except UserError as error:
                print(error)
            limit(resource.RLIM_INFINITY)
            assert checkpoints.steps() == [1], checkpoints.steps()
            assert len(list(Path(sys.argv[1]).iterdir())) == 1
            assert (checkpoints.restore(state(1)).state["params"]["a"] == state(1)["params"]["a"]).all()
        checkpoints.save(4, state(4), {})
        checkpoints.close()
        print(checkpoints.steps())
    """
    done = run_python(child, tmp_path, async_save)
    assert (done.returncode, done.stderr) == (0, "")
    first, second, steps = done.stdout.splitlines()
    for step, line in ((2, first), (3, second)):
        assert line.startswith(f"{tmp_path}: checkpoint {step} could not be written (")
        assert "File too large" in line
        assert "make room" in line
        assert "checkpoint 1" in line
    assert steps == "[1, 4]"
