"""Checkpoints come back bit for bit or not at all, and what is wrong with one is named."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm.common import integrity
from lm.common.checkpoint import Checkpoints
from lm.common.errors import UserError

FALLBACK = "--config.train.restore_fallback=True"


class Moments(NamedTuple):
    mu: dict[str, jax.Array]
    count: jax.Array


def make_state(step: int, width: int = 8) -> dict[str, Any]:
    """A state with the shapes of a real one: nested dicts, a named tuple, a list, bfloat16, integers, scalars."""
    key = jax.random.key(step)
    params = {
        "embed": jax.random.normal(key, (width, 4)),
        "block": {"w": jax.random.normal(key, (2, 4, 4)).astype(jnp.bfloat16), "zero": jnp.zeros(3)},
    }
    moments = Moments(mu={"embed": jnp.full((width, 4), step / 7)}, count=jnp.int32(step))
    return {"params": params, "optimizer": [moments, jnp.uint32(step)], "step": jnp.int32(step)}


def assert_same(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, a), b in zip(jax.tree.leaves_with_path(actual), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype), path
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), path


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


def run_python(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def checkpoints(tmp_path: Path) -> Iterator[Checkpoints]:
    with Checkpoints(tmp_path / "checkpoints") as opened:
        yield opened


def test_state_extra_and_step_come_back(checkpoints: Checkpoints, capfd: pytest.CaptureFixture[str]) -> None:
    state = make_state(3)
    checkpoints.save(3, state, {"examples": 96, "skipped": [[4, 8]], "note": "é"}, {"val/loss": 2.5})
    restored = checkpoints.restore(jax.eval_shape(lambda: make_state(3)))
    assert (restored.step, restored.extra) == (3, {"examples": 96, "skipped": [[4, 8]], "note": "é"})
    assert_same(restored.state, state)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("async_save", [True, False])
def test_donating_the_saved_arrays_at_once_does_no_harm(tmp_path: Path, async_save: bool) -> None:
    def fresh() -> dict[str, jax.Array]:
        return {"a": jnp.arange(1_000_000, dtype=jnp.float32), "b": jnp.arange(1_000_000, dtype=jnp.int32)}

    overwrite = jax.jit(lambda tree: jax.tree.map(lambda x: x * 0 - 1, tree), donate_argnums=0)
    with Checkpoints(tmp_path, async_save=async_save) as checkpoints:
        state = fresh()
        checkpoints.save(1, state, {})
        for _ in range(5):
            state = overwrite(state)
        assert_same(checkpoints.restore(fresh()).state, fresh())


def test_saving_does_not_wait_for_the_disk(checkpoints: Checkpoints) -> None:
    checkpoints.save(1, make_state(1), {})
    assert checkpoints.latest() in (None, 1)
    checkpoints.wait()
    assert checkpoints.latest() == 1


def test_an_empty_directory_has_no_checkpoint(checkpoints: Checkpoints) -> None:
    assert (checkpoints.steps(), checkpoints.latest(), checkpoints.best()) == ([], None, None)
    with pytest.raises(UserError, match="no checkpoint here yet"):
        checkpoints.restore(make_state(1))
    with pytest.raises(UserError, match="no checkpoint here yet"):
        checkpoints.restore_params()


def test_a_step_that_is_not_there_is_named_with_those_that_are(checkpoints: Checkpoints) -> None:
    for step in (1, 2):
        checkpoints.save(step, make_state(step), {})
    for attempt in (lambda: checkpoints.restore(make_state(1), 3), lambda: checkpoints.restore_params(3)):
        with pytest.raises(UserError, match=r"no checkpoint of step 3; there are \[1, 2\]"):
            attempt()


@pytest.mark.parametrize("reopen", [False, True])
def test_keep_last_and_keep_best_are_both_honoured(tmp_path: Path, reopen: bool) -> None:
    losses = {1: 3.0, 2: 1.0, 3: 2.0, 4: float("nan"), 5: None, 6: float("-inf"), 7: 2.5, 8: 4.0}
    checkpoints = Checkpoints(tmp_path, keep_last=2, keep_best=2)
    kept = {1: [1], 2: [1, 2], 3: [1, 2, 3][1:], 4: [2, 3, 4], 5: [2, 3, 4, 5], 6: [2, 3, 5, 6], 7: [2, 3, 6, 7]}
    kept |= {3: [2, 3], 8: [2, 3, 7, 8]}
    for step, loss in losses.items():
        checkpoints.save(step, {"a": jnp.int32(step)}, {}, None if loss is None else {"val/loss": loss, "x": 0.0})
        checkpoints.wait()
        assert checkpoints.steps() == kept[step]
        if reopen:  # the losses of earlier steps must then come from the disk
            checkpoints.close()
            checkpoints = Checkpoints(tmp_path, keep_last=2, keep_best=2)
    assert checkpoints.best() == 2
    checkpoints.close()
    assert Checkpoints(tmp_path, best_metric="other").best() is None


def test_a_step_already_saved_is_left_alone_and_an_older_one_refused(checkpoints: Checkpoints) -> None:
    checkpoints.save(2, make_state(2), {"first": True})
    checkpoints.save(2, make_state(5), {"first": False})
    assert checkpoints.restore(make_state(2)).extra == {"first": True}
    with pytest.raises(AssertionError, match="step 1 is older than checkpoint 2"):
        checkpoints.save(1, make_state(1), {})


def test_every_leaf_that_does_not_fit_is_named_in_one_line(checkpoints: Checkpoints) -> None:
    state = make_state(1)
    checkpoints.save(1, state, {})
    state["params"]["block"]["bias"] = jnp.zeros(3)
    state["params"]["embed"] = jnp.zeros((9, 4))
    state["optimizer"][0].mu["embed"] = jnp.zeros((8, 4), jnp.bfloat16)
    del state["step"]
    for fallback in (False, True):  # going back would not help
        with pytest.raises(UserError) as caught:
            checkpoints.restore(state, fallback=fallback)
        message = str(caught.value)
        assert "\n" not in message
        assert f"{checkpoints.directory / '1'}: does not fit" in message
        for phrase in (
            "params.block.bias is missing",
            "step is extra",
            "params.embed has shape (8, 4), not (9, 4)",
            "optimizer.0.mu.embed is float32, not bfloat16",
        ):
            assert phrase in message
        assert "params.block.w" not in message
    assert checkpoints.steps() == [1]


def test_params_are_restored_without_the_rest_of_the_state(checkpoints: Checkpoints) -> None:
    for step, loss in ((1, 2.0), (2, 1.0), (3, 3.0)):
        checkpoints.save(step, make_state(step), {"examples": step}, {"val/loss": loss})
    for arguments, expected in (({}, 3), ({"best": True}, 2), ({"step": 2}, 2)):
        step, params, extra = checkpoints.restore_params(**arguments)
        assert (step, extra) == (expected, {"examples": expected})
        assert_same(params, make_state(expected)["params"])


def test_the_best_of_a_run_never_evaluated_is_its_newest(checkpoints: Checkpoints) -> None:
    checkpoints.save(1, make_state(1), {})
    checkpoints.save(2, make_state(2), {})
    assert checkpoints.restore_params(best=True)[0] == 2


def test_a_flipped_bit_is_named_or_harmless(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
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
    assert "content differs from what was saved (SHA-256): params.b, params.d;" in str(caught.value)
    with pytest.raises(UserError, match=r"params\.b, params\.d; other checkpoints here: \[\]"):
        checkpoints.restore_params()


@pytest.mark.parametrize("item", ["state/manifest.ocdbt", "record/metadata"])
def test_a_missing_file_is_damage(checkpoints: Checkpoints, item: str) -> None:
    checkpoints.save(1, make_state(1), {})
    checkpoints.wait()
    (checkpoints.directory / "1" / item).unlink()
    with pytest.raises(UserError, match="readable"):
        checkpoints.restore(make_state(1))


def test_fallback_goes_to_the_newest_that_verifies_and_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
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


def test_fallback_with_nothing_left_is_an_error(checkpoints: Checkpoints) -> None:
    checkpoints.save(1, make_state(1, width=200), {})
    checkpoints.wait()
    damage(checkpoints, 1)
    with pytest.raises(UserError, match=r"none of the checkpoints \[1\] verifies"):
        checkpoints.restore(make_state(1, width=200), fallback=True)


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
def test_a_full_disk_is_one_line_and_earlier_checkpoints_stay(tmp_path: Path, async_save: bool) -> None:
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


def test_a_sharded_state_restores_onto_any_sharding(tmp_path: Path) -> None:
    """Saved from 4×2 of 8 devices; restored onto 2×4, replicated, one of them, and, here, a machine with one device."""
    child = """
        import sys
        from pathlib import Path
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import Mesh, NamedSharding, PartitionSpec as P, SingleDeviceSharding
        from lm.common import integrity
        from lm.common.checkpoint import Checkpoints
        devices = np.array(jax.devices())
        assert len(devices) == 8
        values = {"params": {"w": np.arange(64 * 16, dtype=np.float32).reshape(64, 16), "b": np.arange(16.0)}}
        values["params"]["b"] = values["params"]["b"].astype(jnp.bfloat16)
        place = lambda w, b: {"params": {"w": w, "b": b}}
        old = Mesh(devices.reshape(4, 2), ("x", "y"))
        state = jax.device_put(values, place(NamedSharding(old, P("x", "y")), NamedSharding(old, P("y"))))
        assert integrity.hash_array(state["params"]["w"]) == integrity.hash_array(values["params"]["w"])
        with Checkpoints(Path(sys.argv[1])) as checkpoints:
            checkpoints.save(1, state, {})
        new = Mesh(devices.reshape(2, 4), ("x", "y"))
        for shardings in (
            place(NamedSharding(new, P("y", "x")), NamedSharding(new, P(("x", "y")))),
            place(NamedSharding(new, P()), NamedSharding(new, P())),
            place(SingleDeviceSharding(devices[5]), SingleDeviceSharding(devices[5])),
        ):
            like = jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), values, shardings)
            restored = checkpoints.restore(like).state
            for name, array in restored["params"].items():
                assert array.sharding == shardings["params"][name]
                assert np.array_equal(np.asarray(array), values["params"][name])
    """
    done = run_python(child, tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=8", JAX_PLATFORMS="cpu")
    assert (done.returncode, done.stderr) == (0, "")
    params = Checkpoints(tmp_path).restore_params()[1]
    assert np.array_equal(params["w"], np.arange(64 * 16, dtype=np.float32).reshape(64, 16))


def test_reading_touches_nothing_that_a_writer_has_under_way(checkpoints: Checkpoints) -> None:
    checkpoints.save(1, make_state(1), {})
    checkpoints.wait()
    under_way = checkpoints.directory / "2.orbax-checkpoint-tmp" / "state"
    under_way.mkdir(parents=True)
    with Checkpoints(checkpoints.directory) as reader:
        assert reader.steps() == [1]
        reader.restore(make_state(1))
        reader.restore_params()
    assert under_way.is_dir()


def test_the_hash_is_one_of_content_alone() -> None:
    a = np.arange(9_000_000, dtype=np.int32).reshape(3000, 3000)  # more than one chunk
    assert integrity.hash_array(a) == integrity.hash_array(jnp.asarray(a)) == integrity.hash_array(np.asfortranarray(a))
    for position in (0, 4_500_000, 8_999_999):
        b = a.copy()
        b.reshape(-1)[position] ^= 1 << 20
        assert integrity.hash_array(a) != integrity.hash_array(b)


def test_leaves_are_named_by_dotted_paths() -> None:
    assert list(integrity.named_leaves(make_state(1))) == [
        "optimizer.0.mu.embed",
        "optimizer.0.count",
        "optimizer.1",
        "params.block.w",
        "params.block.zero",
        "params.embed",
        "step",
    ]
    with pytest.raises(AssertionError, match=r"both called a\.b"):
        integrity.named_leaves({"a": {"b": 1}, "a.b": 2})
