"""GRU and LSTM are PyTorch's, document by document, in values and in gradients."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
import torch

from lm.model.roles import initialise
from tests.model.mixers.oracles import config, documents, draw, run

CELLS = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}


def theirs(mixer: str, params: Any, inputs: int, width: int) -> torch.nn.RNNBase:
    """Returns PyTorch's module with our parameters, in float64."""
    cell = CELLS[mixer](inputs, width, batch_first=True, dtype=torch.float64)
    ours = {
        "weight_ih_l0": params["cell_in"]["kernel"].reshape(inputs, -1).T,
        "weight_hh_l0": params["state_kernel"].reshape(width, -1).T,
        "bias_ih_l0": params["cell_in"]["bias"].reshape(-1),
        "bias_hh_l0": params["state_bias"].reshape(-1),
    }
    cell.load_state_dict({name: torch.tensor(np.asarray(a, np.float64)) for name, a in ours.items()})
    return cell


@pytest.mark.parametrize("mixer", CELLS)
@pytest.mark.parametrize("width", [0, 9])
def test_it_is_pytorchs(mixer: str, width: int) -> None:
    cfg = config(mixer, **({"width": width, "bias": True} if width else {}))
    ours, params, x_BTD, places = draw(cfg, (-2, 7, 1, -1, 5, -3))
    real = np.asarray(places.segments_BT[0]) > 0
    cell = theirs(mixer, params, cfg.d_model, width or cfg.d_model)
    rows = [torch.tensor(x, requires_grad=True) for x in documents(x_BTD, places)]
    wanted = torch.cat([cell(row[None])[0][0] for row in rows])
    if width:
        kernel, bias = (torch.tensor(np.asarray(params["recurrent_out"][name])) for name in ("kernel", "bias"))
        wanted = wanted @ kernel.double() + bias.double()
    else:
        assert "recurrent_out" not in params
    np.testing.assert_allclose(run(ours, params, x_BTD, places)[0, real], wanted.detach(), atol=2e-6)
    wanted.square().sum().backward()
    total = jax.jit(jax.grad(lambda p, x: (run(ours, p, x, places)[0, real] ** 2).sum(), argnums=(0, 1)))
    slopes = total(params, x_BTD)
    found = slopes[0]["state_kernel"].reshape(slopes[0]["state_kernel"].shape[0], -1).T
    np.testing.assert_allclose(found, cell.weight_hh_l0.grad, atol=1e-5)
    np.testing.assert_allclose(slopes[1][0, real], torch.cat([row.grad for row in rows]), atol=1e-5)


def test_an_lstm_starts_by_remembering() -> None:
    cfg, key = config("lstm"), jax.random.key(0)
    np.testing.assert_array_equal(initialise("cell_in.bias", (4, 2), cfg, key), [[0, 0], [1, 1], [0, 0], [0, 0]])
    assert not np.any(initialise("cell_in.bias", (3, 2), cfg, key))
    assert not np.any(initialise("mixer.state_bias", (4, 2), cfg, key))
