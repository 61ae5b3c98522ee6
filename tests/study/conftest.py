"""A run directory as `lm pretrain` and `lm eval` leave it, with metrics that are known in advance."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lm.common import config as configs
from lm.common.checkpoint import Checkpoints
from lm.common.metrics import MetricWriter
from lm.data import prepare
from lm.data.synthetic import World
from lm.evals.questions import score
from lm.train import defaults, setup
from lm.train import run as runs
from lm.train.state import init_state

STEPS, LOG_EVERY, EVAL_EVERY = 40, 2, 10
HOSTILE = "<script>alert('x')</script> & \"quoted\" </pre>"


def metrics_at(step: int) -> dict[str, float]:
    """The figures of a logged step."""
    loss = 3 / math.sqrt(step)
    values = {
        "train/loss": loss,
        "train/bits_per_byte": loss / math.log(2),
        "train/grad_norm": 1 / step,
        "train/learning_rate": 1e-3 * step / STEPS,
        "tokens_per_second": 100.0 if step == 1 else 1000.0 + step,
        "mfu": 0.25,
    }
    if step % EVAL_EVERY == 0:
        values |= {
            "val/loss": loss + 1,
            "val/bits_per_byte": (loss + 1) / math.log(2),
            "val/perplexity": math.exp(loss + 1),
        }
    return values


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with an evaluation; not to be changed."""
    root = tmp_path_factory.mktemp("study")
    (root / "text.txt").write_text("To be, or not to be: that is the question.\n" * 60)
    run = root / "a run"
    cfg = defaults.pretrain()
    cfg.data.path, cfg.data.validation = str(root / "text.txt"), 0.2
    cfg.tokenizer.kind = "char"
    cfg.model.n_layers, cfg.model.d_model, cfg.model.n_heads, cfg.model.max_seq_len = 2, 16, 2, 8
    cfg.train.steps, cfg.train.batch_size = STEPS, 4
    splits = prepare.Splits(cfg.data)
    tokenizer = prepare.prepare_tokenizer(cfg.tokenizer, cfg.data, splits, run / runs.TOKENIZER)
    shards = prepare.prepare_shards(cfg.data, splits, tokenizer, run / runs.SHARDS)
    model, derived = setup.resolve(cfg, shards.vocab_size, run)
    task = setup.make_task(cfg, model, shards)
    runs.claim(run, configs.to_dict(cfg), setup.facts(model, derived, task, shards))
    with Checkpoints(run / runs.CHECKPOINTS) as checkpoints:
        checkpoints.save(STEPS, init_state(model, task.optimizer, task.mesh, seed=0), {})
    with MetricWriter(run / runs.METRICS) as writer:
        for step in (1, *range(LOG_EVERY, STEPS + 1, LOG_EVERY)):
            writer.write(step, metrics_at(step))
    samples = [{"prompt": "To be", "completion": HOSTILE, "step": STEPS, "temperature": 0.8, "top_k": 0, "top_p": 0.95}]
    (run / runs.SAMPLES).write_text(json.dumps(samples))
    runs.finish(run, configs.to_dict(cfg), {}, {"steps": STEPS})
    figures = {"val/loss": 1.5, "val/bits_per_byte": 2.25, "val/perplexity": 4.5, "max_tokens": 0}
    questions = World(0).questions("test", 48)
    scored = score(lambda prompts: [" yes"] * len(prompts), questions)
    evaluation = {"step": STEPS, "perplexity": figures, "text": {"path": "<other>.txt", **figures}, "questions": scored}
    (run / runs.EVALUATION).write_text(json.dumps(evaluation))
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """The run to do with as one likes: without its manifest, which would hold it to its files' sizes."""
    copy = Path(shutil.copytree(finished, tmp_path / "a run"))
    (copy / "manifest.json").unlink()
    return copy


@pytest.fixture
def killed(run: Path) -> Path:
    """The run as it stands after a kill in the middle of logging step 21."""
    for name in (runs.SAMPLES, runs.EVALUATION):
        (run / name).unlink()
    lines = (run / runs.METRICS).read_text().splitlines(keepends=True)
    (run / runs.METRICS).write_text("".join(lines[:11]) + '{"step": 22, "train/lo')
    return run


@pytest.fixture
def edit_json() -> Callable[[Path, Callable[[Any], Any]], None]:
    """Changes a JSON file by a function of its content."""

    def edit(path: Path, change: Callable[[Any], Any]) -> None:
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return edit
