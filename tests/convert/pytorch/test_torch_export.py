"""The module is a graph that `torch.export` traces: what ONNX, ExecuTorch and AOTInductor start from.

Attention is traced for any number of rows and tokens, experts included. A recurrent mixer is traced for any number of
rows of so many tokens, since its steps are unrolled.
"""

from __future__ import annotations

import pytest
import torch

from tests.convert.pytorch.samples import ARCHITECTURES, EXPERTS, module, tokens


class Logits(torch.nn.Module):
    """The module from tokens to logits, without a cache."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens_BT: torch.Tensor) -> torch.Tensor:
        logits_BTV: torch.Tensor = self.model(input_ids=tokens_BT, use_cache=False).logits
        return logits_BTV


@pytest.mark.parametrize("name", ["llama", "mixtral", "mamba"])
def test_the_exported_graph_computes_the_same_of_other_shapes(name: str) -> None:
    cfg = (ARCHITECTURES | EXPERTS)[name]
    model = Logits(module(cfg))
    free = {layer.mixer for layer in cfg.layers} == {"attention"}
    sizes = {0: torch.export.Dim("rows", max=64), **({1: torch.export.Dim("tokens", max=32)} if free else {})}
    exported = torch.export.export(model, (tokens(cfg, 2, 12),), dynamic_shapes=(sizes,)).module()
    for rows, length in ((2, 12), (3, 20 if free else 12)):
        tokens_BT = tokens(cfg, rows, length, seed=rows)
        with torch.no_grad():
            torch.testing.assert_close(exported(tokens_BT), model(tokens_BT), rtol=0, atol=0)
