"""Writes a run's model in a format others read: lm export --run=runs/mine --format=hf --output=DIR

--format=hf     a directory in Hugging Face's format, as one of the families they have (Llama, Qwen 3, …), for
                transformers, vLLM and whatever reads their files; refused where no family computes this architecture
--format=torch  a directory for any architecture: the weights, and the model as one file of PyTorch, which transformers
                loads with trust_remote_code=True; where torch is installed it is first checked to give the logits of
                the JAX model, and the model card tells how closely
--format=gguf   one file for llama.cpp (--output=FILE.gguf); refused where llama.cpp computes something else

A directory has a README.md, the model card, that tells how to load it. What --format=hf and torch wrote, `lm import`
makes a run of again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
            "run": "",  # a run directory, trained here or imported
            "output": "",  # what to write: a directory, new or empty; gguf: a new file, FILE.gguf
            "format": "hf",  # hf, torch or gguf, as told above
            "step": config_dict.placeholder(int),  # the checkpoint of which training step; unset: the newest
            "best": False,  # the checkpoint of the lowest validation loss instead
            "dtype": config_dict.placeholder(str),  # unset: as imported, else float32; or bfloat16, float16, gguf: q8_0
            "max_shard_bytes": 5_000_000_000,  # hf, torch: weights are split into files of at most so many bytes
            "tokenizer": True,  # whether the tokenizer is written too
            "family": "",  # hf, gguf: write it as llama, qwen3, …; "": as it was imported, else the first that fits
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Loads the model and writes it."""
    from lm import api
    from lm.common.errors import UserError
    from lm.common.progress import size
    from lm.train import run as runs

    if not (name := cfg.run or workdir):
        raise UserError("--run: not given; name a run directory, such as --run=runs/mine")
    _check(cfg)
    directory = Path(name)
    model = api.load(directory, step=cfg.step, best=cfg.best)
    source = _Source(directory, model, runs.read_facts(directory).get("imported", {}), cfg.dtype)
    made = _FORMATS[cfg.format](cfg, source)
    if source.origin and not cfg.dtype:
        print(f"weights: {source.dtype}, as they were imported; --dtype stores them otherwise")
    for note in made.notes:
        print(note)
    files = f"{made.n_files} file{'s' if made.n_files > 1 else ''}"
    print(f"{cfg.output}: {made.family.architecture}, {size(made.n_bytes)} of {source.dtype} in {files}")


@dataclass(frozen=True)
class _Source:
    """What is written: a run and its model; where that was imported from, or nothing; the dtype asked for, or none."""

    directory: Path
    model: Model
    origin: dict[str, str]
    asked: str | None

    @property
    def dtype(self) -> str:
        return self.asked or self.origin.get("dtype", "float32")


def _check(cfg: ConfigDict) -> None:
    """Refuses what does not go together.

    Raises:
        UserError: no output, no such format, or a key or an output that is for another one.
    """
    from lm.common.errors import UserError

    if not cfg.output:
        raise UserError("--output: not given; name the directory to write, such as --output=models/mine")
    if cfg.format not in _FORMATS:
        raise UserError(f"--format={cfg.format}: no such format; one of {', '.join(_FORMATS)}")
    if cfg.family and cfg.format == "torch":
        raise UserError(f"--family={cfg.family}: --format={cfg.format} writes every model alike; leave it out")
    suffix = Path(cfg.output).suffix
    if cfg.format == "gguf":
        if cfg.max_shard_bytes != defaults().max_shard_bytes:
            raise UserError(f"--max_shard_bytes={cfg.max_shard_bytes}: --format=gguf writes one file; leave it out")
        if suffix != ".gguf":
            file = f"{cfg.output.rstrip('/')}.gguf"
            raise UserError(f"--output={cfg.output}: --format=gguf writes one file; name it, such as {file}")
    elif suffix == ".gguf":
        raise UserError(
            f"--output={cfg.output}: --format={cfg.format} writes a directory; give --format=gguf for a file for "
            "llama.cpp, or name a directory"
        )
    elif suffix in _WEIGHTS:
        directory = cfg.output.removesuffix(suffix)
        raise UserError(
            f"--output={cfg.output}: --format={cfg.format} writes a directory; name one, such as {directory}"
        )


def _hf(cfg: ConfigDict, source: _Source) -> hf.Exported:
    from lm.convert import hf

    preferred = source.origin.get("family")
    return hf.write(
        source.model.config,
        source.model.params,
        cfg.output,
        family=cfg.family,
        preferred=preferred,
        **_directory(cfg, source),
    )


def _torch(cfg: ConfigDict, source: _Source) -> hf.Exported:
    from lm.convert import pytorch

    return pytorch.write(source.model.config, source.model.params, cfg.output, **_directory(cfg, source))


def _gguf(cfg: ConfigDict, source: _Source) -> hf.Exported:
    from lm.convert import gguf

    return gguf.write(
        source.model.config,
        source.model.params,
        cfg.output,
        tokenizer_directory=_tokenizer(cfg, source),
        bos=source.model.bos,
        family=cfg.family,
        preferred=source.origin.get("family"),
        dtype=source.dtype,
    )


def _directory(cfg: ConfigDict, source: _Source) -> dict[str, Any]:
    """Returns what the writers of directories take alike."""
    return {
        "tokenizer": _tokenizer(cfg, source),
        "bos": source.model.bos,
        "dtype": source.dtype,
        "max_shard_bytes": cfg.max_shard_bytes,
        "facts": _facts(source),
    }


def _tokenizer(cfg: ConfigDict, source: _Source) -> Path | None:
    from lm.train import run as runs

    return source.directory / runs.TOKENIZER if cfg.tokenizer else None


def _facts(source: _Source) -> dict[str, str]:
    """Returns what a model card tells of the run, by label."""
    from lm.study import record

    if origin := source.origin:
        kept = " like this one" if origin["dtype"] == source.dtype else ""
        return {"Imported from": f"a {origin['family']} checkpoint stored in {origin['dtype']}{kept}"}
    found, step = record.read(source.directory), source.model.step
    tokens = found.tokens_before(step)
    facts = {"Checkpoint": f"training step {step:,} of {found.steps:,}", "Training tokens": f"{tokens:,}"}
    steps, losses = found.series("val/loss")
    if step in steps.tolist():
        facts["Validation loss"] = f"{losses[steps.tolist().index(step)]:.4f} nats a token"
    return facts


_FORMATS: dict[str, Callable[..., Any]] = {"hf": _hf, "torch": _torch, "gguf": _gguf}
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")  # what a file is called that a directory holds
