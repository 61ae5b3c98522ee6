"""Checkpoints come back bit for bit, on any sharding, and the right ones are kept."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import jobs
from lm.common.checkpoint import Checkpoints
from lm.common.errors import UserError

MakeState = Callable[..., dict[str, Any]]
AssertSame = Callable[[Any, Any], None]
RunPython = Callable[..., subprocess.CompletedProcess[str]]


def test_state_extra_and_step_come_back(
    checkpoints: Checkpoints, capfd: pytest.CaptureFixture[str], make_state: MakeState, assert_same: AssertSame
) -> None:
    state = make_state(3)
    checkpoints.save(3, state, {"examples": 96, "skipped": [[4, 8]], "note": "é"}, {"val/loss": 2.5})
    restored = checkpoints.restore(jax.eval_shape(lambda: make_state(3)))
    assert (restored.step, restored.extra) == (3, {"examples": 96, "skipped": [[4, 8]], "note": "é"})
    assert_same(restored.state, state)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("async_save", [True, False])
def test_donating_the_saved_arrays_at_once_does_no_harm(
    tmp_path: Path, async_save: bool, assert_same: AssertSame
) -> None:
    def fresh() -> dict[str, jax.Array]:
        return {"a": jnp.arange(1_000_000, dtype=jnp.float32), "b": jnp.arange(1_000_000, dtype=jnp.int32)}

    overwrite = jax.jit(lambda tree: jax.tree.map(lambda x: x * 0 - 1, tree), donate_argnums=0)
    with Checkpoints(tmp_path, async_save=async_save) as checkpoints:
        state = fresh()
        checkpoints.save(1, state, {})
        for _ in range(5):
            state = overwrite(state)
        assert_same(checkpoints.restore(fresh()).state, fresh())


def test_saving_does_not_wait_for_the_disk(checkpoints: Checkpoints, make_state: MakeState) -> None:
    checkpoints.save(1, make_state(1), {})
    assert checkpoints.latest() in (None, 1)
    checkpoints.wait()
    assert checkpoints.latest() == 1


def test_an_empty_directory_has_no_checkpoint(checkpoints: Checkpoints, make_state: MakeState) -> None:
    assert (checkpoints.steps(), checkpoints.latest(), checkpoints.best()) == ([], None, None)
    with pytest.raises(UserError, match="no checkpoint here yet"):
        checkpoints.restore(make_state(1))
    with pytest.raises(UserError, match="no checkpoint here yet"):
        checkpoints.restore_params()


def test_a_step_that_is_not_there_is_named_with_those_that_are(checkpoints: Checkpoints, make_state: MakeState) -> None:
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


def test_a_step_already_saved_is_left_alone_and_an_older_one_refused(
    checkpoints: Checkpoints, make_state: MakeState
) -> None:
    checkpoints.save(2, make_state(2), {"first": True})
    checkpoints.save(2, make_state(5), {"first": False})
    assert checkpoints.restore(make_state(2)).extra == {"first": True}
    with pytest.raises(AssertionError, match="step 1 is older than checkpoint 2"):
        checkpoints.save(1, make_state(1), {})


def test_every_leaf_that_does_not_fit_is_named_in_one_line(checkpoints: Checkpoints, make_state: MakeState) -> None:
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


def test_params_are_restored_without_the_rest_of_the_state(
    checkpoints: Checkpoints, make_state: MakeState, assert_same: AssertSame
) -> None:
    for step, loss in ((0, 1.0), (1, 2.0), (2, 3.0)):
        checkpoints.save(step, make_state(step), {"examples": step}, {"val/loss": loss})
    for arguments, expected in (({}, 2), ({"best": True}, 0), ({"step": 1}, 1)):
        step, params, extra = checkpoints.restore_params(**arguments)
        assert (step, extra) == (expected, {"examples": expected})
        assert_same(params, make_state(expected)["params"])


def test_the_best_of_a_run_never_evaluated_is_its_newest(checkpoints: Checkpoints, make_state: MakeState) -> None:
    checkpoints.save(1, make_state(1), {})
    checkpoints.save(2, make_state(2), {})
    assert checkpoints.restore_params(best=True)[0] == 2


def test_a_sharded_state_restores_onto_any_sharding(tmp_path: Path, run_python: RunPython) -> None:
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
        alone = jax.tree.map(jnp.asarray, values)["params"]
        assert integrity.fingerprints(state["params"]) == integrity.fingerprints(alone)
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
    done = run_python(child, tmp_path, **jobs.simulated(8))
    assert (done.returncode, done.stderr) == (0, "")
    params = Checkpoints(tmp_path).restore_params()[1]
    assert np.array_equal(params["w"], np.arange(64 * 16, dtype=np.float32).reshape(64, 16))


def test_reading_touches_nothing_that_a_writer_has_under_way(checkpoints: Checkpoints, make_state: MakeState) -> None:
    checkpoints.save(1, make_state(1), {})
    checkpoints.wait()
    under_way = checkpoints.directory / "2.orbax-checkpoint-tmp" / "state"
    under_way.mkdir(parents=True)
    with Checkpoints(checkpoints.directory) as reader:
        assert reader.steps() == [1]
        reader.restore(make_state(1))
        reader.restore_params()
    assert under_way.is_dir()


def test_a_path_with_dots_is_the_same_directory(tmp_path: Path, make_state: MakeState) -> None:
    """As of a run that is named from a folder beside it."""
    (tmp_path / "beside").mkdir()
    dotted = tmp_path / "beside" / ".." / "checkpoints"
    with Checkpoints(dotted) as checkpoints:
        checkpoints.save(1, make_state(1), {})
    with Checkpoints(dotted) as checkpoints:
        assert checkpoints.restore(make_state(0)).step == 1
        assert checkpoints.restore_params()[0] == 1
