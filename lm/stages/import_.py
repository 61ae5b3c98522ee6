"""Makes a run of a checkpoint in Hugging Face's format: lm import --from=HF_DIR --workdir=runs/theirs

HF_DIR holds config.json, *.safetensors and tokenizer.json; nothing is downloaded. What `lm export` wrote comes back
too, whether --format=hf or torch. `lm sample`, `eval`, `export`, `inspect`, `diff` and `lm.load` then take it like any
other run; `lm pretrain` does not train it further.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict, config_dict

from lm.stages import required_workdir

if TYPE_CHECKING:
    from lm.model.config import ModelConfig


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "import",
            "dry_run": False,  # read the config and say what the model is, without its weights
            "from": "",  # a directory with config.json, *.safetensors and tokenizer.json
            "tokenizer": "",  # the directory of tokenizer.json, where that is another
            "max_seq_len": config_dict.placeholder(int),  # a shorter context, to save memory; unset: the model's own
            "dtype": config_dict.placeholder(str),  # to compute in: float32 or bfloat16; unset: by hardware
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Reads the checkpoint and writes the run directory, all of it or nothing."""
    from lm.common import config as configs
    from lm.common import manifest
    from lm.common.errors import UserError
    from lm.common.progress import quantity
    from lm.common.whole import whole_directory
    from lm.convert import hf, pytorch
    from lm.convert.hf.settings import read_json
    from lm.data.tokenizer import imported as tokenizers
    from lm.model import cost
    from lm.train import imported
    from lm.train import run as runs

    output = required_workdir(workdir)
    source = _source(cfg["from"])
    described = read_json(source / "config.json")
    if "model_type" not in described and "model" in described:
        raise UserError(
            f"--from={source}: a run of ours already; use it as it is, such as `lm sample --run={source}`, or "
            f"`lm export --run={source}` for others"
        )
    reader: Any = pytorch if described.get("model_type") == pytorch.FAMILY.model_type else hf
    family, model = reader.read_config(source)
    model = _adjusted(cfg, model)
    if cfg.dry_run:
        print(f"{source}: {family.model_type}, {quantity(cost.n_params(model))} parameters, would go into {output}")
        return
    config = {key: value for key, value in configs.to_dict(cfg).items() if key != "dry_run"}
    inputs = {"from": manifest.fingerprint_files(path for path in source.iterdir() if path.is_file())}
    if cfg.tokenizer:
        inputs["tokenizer"] = manifest.fingerprint_files(
            path for path in Path(cfg.tokenizer).iterdir() if path.is_file()
        )
    if manifest.find_same(output, imported.STAGE, config=config, inputs=inputs):
        print(f"{output}: finished")
        return
    with whole_directory(output, "--workdir") as made:
        tokenizer = tokenizers.adopt(
            Path(cfg.tokenizer or source),
            made / runs.TOKENIZER,
            vocab_size=model.vocab_size,
            config=described,
            inputs=inputs,
        )
        found = reader.read(source)
        imported.write_run(
            made,
            model,
            found.params,
            bos=tokenizer.facts.bos,
            config=config,
            inputs=inputs,
            origin={"from": str(source), "family": family.model_type, "dtype": found.dtype},
        )
    print(f"{output}: {family.model_type}, {quantity(cost.n_params(model))} parameters, stored as {found.dtype}")


def _source(given: str) -> Path:
    """Returns the directory to read.

    Raises:
        UserError: none was given, or it is none: a file, a GGUF, an address, a name on a hub.
    """
    from lm.common import buckets
    from lm.common.errors import UserError

    if not given:
        raise UserError("--from: not given; name a directory in Hugging Face's format, such as --from=models/theirs")
    source = Path(given)
    buckets.refuse(source, "--from")
    if source.suffix == ".gguf" or (any(source.glob("*.gguf")) and not (source / "config.json").is_file()):
        raise UserError(
            f"--from={given}: GGUF is written, not read; download the checkpoint that it was made of, a directory with "
            "config.json and safetensors, and name that"
        )
    if source.is_file():
        raise UserError(f"--from={given}: is a file; name the directory with the whole checkpoint, {source.parent}")
    if not source.is_dir():
        raise UserError(
            f"--from={given}: no such directory, and nothing is downloaded; get a model of a hub first, such as by "
            "`hf download ORG/NAME --local-dir=DIR`, and name that DIR"
        )
    return source


def _adjusted(cfg: ConfigDict, model: ModelConfig) -> ModelConfig:
    """Returns the architecture with what the config says of its context and its computation."""
    import dataclasses

    from lm.common import hardware
    from lm.common.errors import UserError

    length = cfg.max_seq_len or model.max_seq_len
    if not 0 < length <= model.max_seq_len or (length < model.max_seq_len and model.position_embedding == "learned"):
        raise UserError(
            f"--max_seq_len={cfg.max_seq_len}: this model's context is {model.max_seq_len} tokens; give no more"
            + (", and no less, since it learnt its positions" if model.position_embedding == "learned" else "")
        )
    dtype: Any = cfg.dtype or hardware.compute_dtype()  # checked by the config
    return dataclasses.replace(model, max_seq_len=length, dtype=dtype)
