"""`lm export`: a run becomes a checkpoint, an imported one the checkpoint it was."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

import lm
from lm import cli
from lm.convert import hf
from lm.model import cost
from lm.model.config import ModelConfig

TEXT = "".join(f"The kite number {n} is red, and the {n % 7} boats are blue.\n" for n in range(400))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small trained run."""
    root = tmp_path_factory.mktemp("export")
    (root / "text.txt").write_text(TEXT)
    small = ("--model.n_layers=1", "--model.d_model=16", "--model.n_heads=2", "--model.max_seq_len=32")
    sizes = ("--train.steps=4", "--train.batch_size=4", "--train.checkpoint_every=2", "--optimizer.peak_lr=1e-3")
    rest = (f"--data.path={root / 'text.txt'}", "--sample.max_new_tokens=2", f"--workdir={root / 'run'}")
    assert cli.main(["pretrain", *small, *sizes, *rest]) == 0
    return root / "run"


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Returns the one line that a command fails with."""
    assert cli.main(list(arguments)) == 2
    message = capsys.readouterr().err.strip()
    assert "\n" not in message
    return message


def test_a_trained_run_is_a_llama_that_transformers_writes_with(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    import transformers

    assert cli.main(["export", f"--run={run}", f"--output={tmp_path / 'out'}"]) == 0
    assert "LlamaForCausalLM" in capsys.readouterr().out
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    prompt = tokenizer("The kite", return_tensors="pt")
    with torch.no_grad():
        theirs = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    ours = lm.load(run).generate("The kite", max_new_tokens=12, temperature=0.0)
    assert tokenizer.decode(theirs, skip_special_tokens=True) == ours
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| Checkpoint | training step 4 of 4 |" in card
    assert "| Validation loss |" in card


def test_the_checkpoint_the_dtype_and_the_size_of_a_file_can_be_chosen(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    chosen = ("--step=2", "--dtype=bfloat16", "--max_shard_bytes=10000", "--tokenizer=False", "--family=mistral")
    assert cli.main(["export", f"--run={run}", f"--output={out}", *chosen]) == 0
    early = lm.load(run, step=2).params["embed"]["table"].astype("bfloat16")
    found = hf.read(out)
    assert (found.family.model_type, found.dtype) == ("mistral", "bfloat16")
    assert np.array_equal(found.params["embed"]["table"], np.asarray(early, np.float32))
    assert not (out / "tokenizer.json").exists()
    card = (out / "README.md").read_text()
    assert "| Checkpoint | training step 2 of 4 |" in card
    assert f"| Training tokens | {2 * 4 * 32} |" in card
    assert "AutoTokenizer" not in card
    assert len(list(out.glob("model-*.safetensors"))) > 1


def test_import_and_export_give_back_the_same_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A Mistral that a Llama could be as well, with a tokenizer and configs of its own, comes back as it was."""
    cfg = ModelConfig(
        vocab_size=12, n_layers=2, n_heads=2, n_kv_heads=1, d_model=16, d_ff=24, head_width=8, max_seq_len=48
    )
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), cost.parameter_shapes(cfg))
    source, out = tmp_path / "hf", tmp_path / "out"
    hf.write(cfg, params, source, family="mistral", dtype="float16")
    vocabulary = {token: id for id, token in enumerate(["<s>", "</s>", "<|end|>", *"abcdefghi"])}
    added = [
        {"id": id, "content": token, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False}
        for token, id in list(vocabulary.items())[:3]
    ]  # fmt: skip
    model = {"type": "BPE", "vocab": vocabulary, "merges": []}
    kept = {
        "tokenizer.json": {"version": "1.0", "added_tokens": added, "model": model, "decoder": {"type": "Fuse"}},
        "tokenizer_config.json": {"eos_token": "</s>", "add_bos_token": False, "chat_template": "{{ messages }}"},
        "generation_config.json": {"eos_token_id": [1, 2], "temperature": 0.6},
    }
    for name, content in kept.items():
        (source / name).write_text(json.dumps(content))
    assert cli.main(["import", f"--from={source}", f"--workdir={tmp_path / 'run'}"]) == 0
    loaded = lm.load(tmp_path / "run")
    assert loaded.tokenizer.stop_ids == {1, 2}
    assert (loaded.bos, loaded.tokenizer.decode([3, 1, 4])) == (False, "ab")
    assert cli.main(["export", f"--run={tmp_path / 'run'}", f"--output={out}"]) == 0
    assert "weights: float16, as they were imported" in capsys.readouterr().out
    assert "| Imported from | a mistral checkpoint stored in float16 like this one |" in (out / "README.md").read_text()
    before, after = (load_file(folder / "model.safetensors") for folder in (source, out))
    assert before.keys() == after.keys()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    for name, content in kept.items():
        assert json.loads((out / name).read_text()) == content
    config = json.loads((out / "config.json").read_text())
    assert (config["model_type"], config["eos_token_id"]) == ("mistral", [1, 2])
    other = ("export", f"--run={tmp_path / 'run'}", f"--output={tmp_path / 'other'}", "--dtype=float32")
    assert cli.main([*other]) == 0
    assert "as they were imported" not in capsys.readouterr().out
    assert hf.read(tmp_path / "other").dtype == "float32"
    card = (tmp_path / "other" / "README.md").read_text()
    assert "| Weights stored in | float32 |" in card
    assert "| Imported from | a mistral checkpoint stored in float16 |" in card


def test_mistakes_are_one_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = f"--output={tmp_path / 'out'}"
    assert "--run: not given" in fails(capsys, "export", out)
    assert "--output: not given" in fails(capsys, "export", f"--run={run}")
    assert "--format=onnx: no such format; one of hf" in fails(capsys, "export", f"--run={run}", out, "--format=onnx")
    assert "did you mean qwen3" in fails(capsys, "export", f"--run={run}", out, "--family=qwen_3")
    assert "family qwen2 cannot say model.qkv_bias=False" in fails(
        capsys, "export", f"--run={run}", out, "--family=qwen2"
    )
    assert "dtype=int4: choose one of" in fails(capsys, "export", f"--run={run}", out, "--dtype=int4")
    assert "no checkpoint of step 3" in fails(capsys, "export", f"--run={run}", out, "--step=3")
    assert "no run here" in fails(capsys, "export", f"--run={tmp_path}", out)
    assert "did you mean" in fails(capsys, "export", f"--run={run}x", out)
    file = f"--output={tmp_path / 'mine'}"
    for format in ("hf", "torch"):
        into = ("export", f"--run={run}", f"--format={format}")
        assert "writes a directory; give --format=gguf" in fails(capsys, *into, f"{file}.gguf")
        assert f"name one, such as {tmp_path / 'mine'}" in fails(capsys, *into, f"{file}.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_any_run_is_a_pytorch_module_that_comes_back_to_the_bit(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["export", f"--run={run}", "--format=torch", f"--output={tmp_path / 'out'}"]) == 0
    assert "LmForCausalLM" in capsys.readouterr().out
    card = (tmp_path / "out" / "README.md").read_text()
    assert "| Checked against the JAX model | on random tokens" in card
    monkeypatch.chdir(tmp_path)
    exec(card.split("```python\n")[1].split("```")[0], {})  # asks nothing, of whoever runs it
    assert "Once upon a time" in capsys.readouterr().out
    assert cli.main(["import", f"--from={tmp_path / 'out'}", f"--workdir={tmp_path / 'back'}"]) == 0
    there, back = lm.load(run), lm.load(tmp_path / "back")
    jax.tree.map(np.testing.assert_array_equal, back.params, there.params)
    assert back.config == there.config
    assert back.generate("The kite", temperature=0.0) == there.generate("The kite", temperature=0.0)
    assert "leave it out" in fails(capsys, "export", f"--run={run}", "--format=torch", "--family=llama", "--output=x")
    exported = tmp_path / "out"
    for command in ("export", "sample", "inspect"):
        said = fails(capsys, command, f"{exported}", *(["--output=x"] if command == "export" else []))
        assert f"{exported}: no run of ours; `lm import --from={exported} --workdir=DIR` makes one" in said


def test_a_trained_run_is_one_file_for_llama_cpp(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import gguf

    out = tmp_path / "mine.gguf"
    assert cli.main(["export", f"--run={run}", "--format=gguf", f"--output={out}", "--dtype=q8_0"]) == 0
    assert "of q8_0 in 1 file" in capsys.readouterr().out
    fields = gguf.GGUFReader(out).fields
    assert fields["general.architecture"].contents() == "llama"
    assert len(fields["tokenizer.ggml.tokens"].contents()) == lm.load(run).config.vocab_size
    assert list(tmp_path.iterdir()) == [out]
    into = ("export", f"--run={run}", "--format=gguf")
    assert "is there already" in fails(capsys, *into, f"--output={out}")
    assert "writes one file; name it" in fails(capsys, *into, f"--output={tmp_path / 'directory'}")
    assert "writes one file; leave it out" in fails(capsys, *into, f"--output={out}", "--max_shard_bytes=5")
