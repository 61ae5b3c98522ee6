"""Writes a run's model in a format others read: lm export --run=runs/mine --format=hf --output=DIR

hf: a checkpoint of the family that fits the architecture, for transformers, vLLM and whatever reads their files.
torch: any architecture, with a PyTorch module beside the weights that `trust_remote_code` loads; it is run beside the
JAX model first, and how far the two are apart goes into the model card.
gguf: one file for llama.cpp, where that computes such a model: --output=FILE.gguf.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict, config_dict

if TYPE_CHECKING:
    from lm.api import Model
    from lm.convert import hf

SUBJECT = "run"  # what an argument without a key is


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "export",
            "run": "",  # a run directory
            "output": "",  # the directory to write, new or empty; gguf: the file
            "format": "hf",  # or torch: any architecture, as a PyTorch module; or gguf: for llama.cpp
            "step": config_dict.placeholder(int),  # a checkpoint's step; the newest if unset
            "best": False,  # the checkpoint of the lowest validation loss
            "dtype": "float32",  # of the weights; or bfloat16, float16; gguf: or q8_0
            "max_shard_bytes": 5_000_000_000,  # the most that one file of weights holds
            "tokenizer": True,  # write it too
            "family": "",  # hf, gguf: such as llama, qwen3; "": the one it was imported from, or the first that fits
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Loads the model and writes it."""
    from lm import api
    from lm.common.errors import UserError
    from lm.common.progress import quantity

    if not (name := cfg.run or workdir):
        raise UserError("--run: not given; name a run directory, such as --run=runs/mine")
    if not cfg.output:
        raise UserError("--output: not given; name the directory to write, such as --output=models/mine")
    if cfg.format not in _FORMATS:
        raise UserError(f"--format={cfg.format}: no such format; one of {', '.join(_FORMATS)}")
    if cfg.family and cfg.format == "torch":
        raise UserError(f"--family={cfg.family}: --format={cfg.format} writes every model alike; leave it out")
    directory = Path(name)
    model = api.load(directory, step=cfg.step, best=cfg.best)
    made = _FORMATS[cfg.format](cfg, directory, model)
    for note in made.notes:
        print(note)
    files = f"{made.n_files} file{'s' if made.n_files > 1 else ''}"
    print(f"{cfg.output}: {made.family.architecture}, {quantity(made.n_bytes)}B of {cfg.dtype} in {files}")


def _hf(cfg: ConfigDict, directory: Path, model: Model) -> hf.Exported:
    from lm.convert import hf
    from lm.train import run as runs

    origin = runs.read_facts(directory).get("imported", {})
    return hf.write(
        model.config,
        model.params,
        cfg.output,
        family=cfg.family,
        preferred=origin.get("family"),
        **_common(cfg, directory, model),
    )


def _torch(cfg: ConfigDict, directory: Path, model: Model) -> hf.Exported:
    from lm.convert import pytorch

    return pytorch.write(model.config, model.params, cfg.output, **_common(cfg, directory, model))


def _gguf(cfg: ConfigDict, directory: Path, model: Model) -> hf.Exported:
    from lm.common.errors import UserError
    from lm.convert import gguf
    from lm.train import run as runs

    if cfg.max_shard_bytes != defaults().max_shard_bytes:
        raise UserError(f"--max_shard_bytes={cfg.max_shard_bytes}: --format=gguf writes one file; leave it out")
    if not cfg.output.endswith(".gguf"):
        raise UserError(f"--output={cfg.output}: --format=gguf writes one file; name it, such as {cfg.output}.gguf")
    return gguf.write(
        model.config,
        model.params,
        cfg.output,
        tokenizer_directory=directory / runs.TOKENIZER if cfg.tokenizer else None,
        bos=model.bos,
        family=cfg.family,
        preferred=runs.read_facts(directory).get("imported", {}).get("family"),
        dtype=cfg.dtype,
    )


def _common(cfg: ConfigDict, directory: Path, model: Model) -> dict[str, Any]:
    """Returns what the writers of all formats take alike."""
    from lm.train import run as runs

    return {
        "tokenizer": directory / runs.TOKENIZER if cfg.tokenizer else None,
        "bos": model.bos,
        "dtype": cfg.dtype,
        "max_shard_bytes": cfg.max_shard_bytes,
        "facts": _facts(directory, model),
    }


def _facts(directory: Path, model: Model) -> dict[str, str]:
    """Returns what a model card tells of the run, by label."""
    from lm.study import record

    found = record.read(directory)
    if origin := found.imported:
        return {"Imported from": f"a {origin['family']} checkpoint, stored as {origin['dtype']}"}
    facts = {"Training step": f"{model.step:,} of {found.steps:,}", "Training tokens": f"{found.tokens:,}"}
    steps, losses = found.series("val/loss")
    if model.step in steps.tolist():
        facts["Validation loss"] = f"{losses[steps.tolist().index(model.step)]:.4f} nats a token"
    return facts


_FORMATS: dict[str, Callable[..., Any]] = {"hf": _hf, "torch": _torch, "gguf": _gguf}
