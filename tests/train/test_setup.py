"""What a task is made of: the parts that follow from the shards and their mixture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lm.common.errors import UserError
from lm.common.mesh import AXES
from lm.data import prepare
from lm.model.config import ModelConfig
from lm.train import defaults, setup


def test_bytes_per_token_are_those_of_the_mixture(tmp_path: Path) -> None:
    """A tenth of the training tokens are of 3 bytes, though most of the text there is has those."""
    cfg = defaults.pretrain()
    cfg.data.mixture = {}
    for name, text, weight in (("one", "abcdefgh" * 20, 9.0), ("three", "中文字母" * 200, 1.0)):
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
        cfg.data.mixture[name] = {"path": str(tmp_path / f"{name}.txt"), "weight": weight}
    cfg.data.validation, cfg.data.bos, cfg.data.eos = 0.0, False, False
    cfg.tokenizer.kind = "char"
    cfg.model.n_layers, cfg.model.d_model, cfg.model.n_heads, cfg.model.max_seq_len = 1, 16, 2, 8
    cfg.train.steps, cfg.train.batch_size = 10, 4
    splits = prepare.Splits(cfg.data)
    tokenizer = prepare.prepare_tokenizer(cfg.tokenizer, cfg.data, splits, tmp_path / "tokenizer")
    shards = prepare.prepare_shards(cfg.data, splits, tokenizer, tmp_path / "shards")
    model, _ = setup.resolve(cfg, shards.vocab_size, tmp_path / "run")
    assert setup.make_task(cfg, model, shards).bytes_per_token == pytest.approx(0.9 * 1 + 0.1 * 3)
    assert shards.bytes_per_token("train") > 2


MODEL = ModelConfig(
    vocab_size=16, n_layers=4, n_heads=8, n_kv_heads=4, d_model=32, d_ff=32, head_width=8, max_seq_len=30
)


@pytest.mark.parametrize(
    ("changes", "axis", "message"),
    [
        ({"attention_backend": "ring"}, "context", "mesh.context=4 does not divide model.max_seq_len=30"),
        ({"max_seq_len": 32}, "context", "model.attention_backend=xla: lacks context"),
        ({"scan_layers": False}, "pipeline", "mesh.pipeline=4: stages run loops; set model.scan_layers=True"),
        ({"mixer": "differential"}, "tensor", "mesh.tensor=4 does not divide the 2 pairs that"),
    ],
)
def test_a_mesh_that_a_model_cannot_be_spread_over_is_refused(changes: dict[str, Any], axis: str, message: str) -> None:
    mesh: Any = SimpleNamespace(shape=dict.fromkeys(AXES, 1) | {axis: 4})
    with pytest.raises(UserError, match=message):
        setup.check_mesh(replace(MODEL, **changes), mesh)
    setup.check_mesh(replace(MODEL, attention_backend="ring", max_seq_len=32), mesh)
