"""Directories that are written, read back, and used by those who have neither this library nor JAX."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lm.common.errors import UserError
from lm.convert import parity, pytorch
from lm.convert.hf import tokenizers as tokenizer_files
from lm.infer import decode
from lm.infer.sampling import Sampling
from lm.model.config import ModelConfig
from tests.convert.pytorch.samples import ARCHITECTURES, EXPERTS, params

GEMMA, GPT2 = ARCHITECTURES["gemma2"], ARCHITECTURES["gpt2"]
UNTIED = ARCHITECTURES["neox"]

# What a reader does who has torch and transformers alone; the finder makes sure of that.
STRANGER = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("lm", "jax", "jaxlib", "flax"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import json, torch
from transformers import AutoConfig, AutoModelForCausalLM

directory, prompt = sys.argv[1], json.loads(sys.argv[2])
model = AutoModelForCausalLM.from_pretrained(directory, trust_remote_code=True).eval()
rows = model.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False, pad_token_id=0)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
losses = []
for _ in range(2):
    optimizer.zero_grad()
    loss = model(rows, labels=rows).loss
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
model.save_pretrained(sys.argv[3])
again = AutoModelForCausalLM.from_pretrained(sys.argv[3], trust_remote_code=True)
config = AutoConfig.from_pretrained(directory, trust_remote_code=True)
fresh = AutoModelForCausalLM.from_config(config, trust_remote_code=True)
same = zip(model.state_dict().values(), again.state_dict().values(), strict=True)
told = {
    "new": rows[0, len(prompt):].tolist(),
    "losses": losses,
    "same": all(bool((a == b).all()) for a, b in same),
    "tied": again.head.weight is again.embed.table.weight,
    "finite": all(bool(parameter.isfinite().all()) for parameter in fresh.parameters()),
    "absent": not {"lm", "jax"} & {*sys.modules},
}
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model, its parity measured."""
    directory = tmp_path_factory.mktemp("export") / "gemma"
    pytorch.write(GEMMA, params(GEMMA), directory)
    return directory


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without torch."""
    monkeypatch.setattr(parity, "is_possible", lambda: False)


def assert_same(found: Any, wanted: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.mark.parametrize("name", ["gpt2", "normless", "bare", "gpt-oss"])
@pytest.mark.usefixtures("unchecked")
def test_what_was_written_comes_back_to_the_bit(name: str, tmp_path: Path) -> None:
    cfg = ARCHITECTURES[name]
    pytorch.write(dataclasses.replace(cfg, dtype="bfloat16", remat="block"), params(cfg), tmp_path / "out")
    found = pytorch.read(tmp_path / "out")
    assert found.config == cfg, "how it is computed is left at its defaults"
    assert found.dtype == "float32"
    assert_same(found.params, params(cfg))


@pytest.mark.usefixtures("unchecked")
def test_shards_and_a_narrower_dtype(tmp_path: Path) -> None:
    made = pytorch.write(UNTIED, params(UNTIED), tmp_path / "out", dtype="bfloat16", max_shard_bytes=4000)
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert made.n_files == len(files) > 1
    found = pytorch.read(tmp_path / "out")
    assert found.dtype == "bfloat16"
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-8), found.params, params(UNTIED))


def test_the_card_tells_how_far_the_module_is_from_the_model(gemma: Path) -> None:
    card = (gemma / "README.md").read_text()
    assert "trust_remote_code=True" in card
    assert "| Checked against the JAX model | on random tokens, in float32, no logit is further off than " in card
    assert "AutoTokenizer" not in card  # there is none beside it
    assert sorted(path.name for path in gemma.iterdir()) == [
        "README.md",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "modeling_lm.py",
    ]


@pytest.mark.usefixtures("unchecked")
def test_without_torch_the_card_says_that_nothing_was_checked(tmp_path: Path) -> None:
    made = pytorch.write(GPT2, params(GPT2), tmp_path / "out")
    assert "| no, since torch and transformers were not installed |" in (tmp_path / "out" / "README.md").read_text()
    assert made.notes == ["checked against the JAX model: no, since torch and transformers were not installed"]


@pytest.mark.parametrize("name", ["gshard", "deepseek-v3"])
def test_experts_are_exported_with_and_without_a_capacity(name: str, tmp_path: Path) -> None:
    """With one, reading piece by piece is another computation, and the same on both sides."""
    cfg = EXPERTS[name]
    made = pytorch.write(cfg, params(cfg), tmp_path / "out")
    assert "no logit is further off than" in made.notes[-1]
    assert_same(pytorch.read(tmp_path / "out").params, params(cfg))


def test_a_module_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "measure", lambda *_: {"tokens": 1e-7, "cached": float("nan")})
    with pytest.raises(UserError, match="nothing was written"):
        pytorch.write(GPT2, params(GPT2), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unchecked")
def test_a_tokenizer_that_the_format_has_not_is_left_out_with_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise UserError("tokenizer: cannot be said")

    monkeypatch.setattr(tokenizer_files, "files", refuse)
    made = pytorch.write(GPT2, params(GPT2), tmp_path / "out", tokenizer=tmp_path / "tokenizer")
    assert not (tmp_path / "out" / "tokenizer.json").exists()
    assert made.notes[0] == "left out: tokenizer: cannot be said"


def test_who_has_neither_the_library_nor_jax_can_generate_train_and_save(gemma: Path, tmp_path: Path) -> None:
    prompt = [3, 1, 4, 1, 5]
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", STRANGER, str(gemma), json.dumps(prompt), str(tmp_path / "saved")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    greedy = decode.generate(GEMMA, params(GEMMA), [prompt], max_new_tokens=8, sampling=Sampling(0.0, 0, 1.0))
    assert told["new"] == greedy[0]
    assert told["losses"][1] < told["losses"][0]
    assert all(told[fact] for fact in ("same", "tied", "finite", "absent"))
    assert pytorch.read(tmp_path / "saved").config == GEMMA, "what transformers saved is read as well"


def _edit(directory: Path, change: dict[str, Any]) -> None:
    path = directory / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"d_model": None}, "d_model is missing"),
        ({"rope": 3}, "an object is expected"),
        ({"rope": {"thta": 3}}, "thta is not known"),
        ({"norm": "batch"}, "model.norm=batch"),
        ({"sparkle": 1}, "sparkle=1"),
        ({"d_model": 24}, "mis-shaped"),
        ({"n_layers": 3}, "missing"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_config_that_does_not_fit_is_refused_by_name(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    cfg: ModelConfig = ARCHITECTURES["llama"]
    pytorch.write(cfg, params(cfg), tmp_path / "out")
    _edit(tmp_path / "out", change)
    with pytest.raises(UserError, match=told):
        pytorch.read(tmp_path / "out")


def test_parity_sees_a_wrong_weight_and_a_wrong_cache(gemma: Path, tmp_path: Path) -> None:
    """Each case of what is measured can fail."""
    for path in gemma.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    code = (tmp_path / "modeling_lm.py").read_text()
    forgetful = code.replace("torch.cat([cached[key], a], dim=1)", "torch.cat([0 * cached[key], a], dim=1)")
    assert forgetful != code
    (tmp_path / "modeling_lm.py").write_text(forgetful)
    measured = parity.measure(GEMMA, params(GEMMA), tmp_path)
    assert measured.pop("cached") > 1e-2
    assert max(measured.values()) <= parity.TOLERANCE
    (tmp_path / "modeling_lm.py").write_text(code)
    weights = load_file(tmp_path / "model.safetensors")
    weights["layers.1.mixer.q.weight"] = weights["layers.1.mixer.q.weight"] * 1.01
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert min(parity.measure(GEMMA, params(GEMMA), tmp_path).values()) > parity.TOLERANCE
