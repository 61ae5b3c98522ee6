"""Says what a run, a config or a preset is made of and costs: lm inspect llama3-8b

The subject is a run directory, a config FILE[:arg] or the name of a published architecture (of `lm.model.presets`). For
every parameter: shape, axes (`embed/4`: split over 4 devices) and how it starts; in all: parameters, floating-point
operations a token, what decoding keeps, and the memory that training takes on each device. Nothing is allocated.
"""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict, config_dict

SUBJECT = "subject"  # what an argument without a key is


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "inspect",
            "subject": "",  # a run directory, a config FILE[:arg], or a preset such as gpt2-124m
            "set": {},  # keys of its config to set otherwise, such as --set.mesh.fsdp=8
            "context": 0,  # tokens in view, for operations and cache; 0: as many as there is room for
            "devices": config_dict.placeholder(int),  # to spread over; unset: the run's, or this machine's
            "dtype": "bfloat16",  # of computation and cache, where the subject leaves it open
            "json": "",  # a file to write it all to as well
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Prints the subject's parameters and costs."""
    import json

    from lm.common import config as configs
    from lm.common import manifest
    from lm.common.errors import UserError
    from lm.study import inspect, subject

    if not (name := cfg.subject or workdir):
        raise UserError("--subject: not given; name a run, a config file or a preset, such as lm inspect llama3-8b")
    if cfg.context < 0 or (cfg.devices is not None and cfg.devices < 1):
        raise UserError(f"--context={cfg.context}, --devices={cfg.devices}: give positive numbers, or leave them out")
    changes = dict(configs.flatten(cfg.set))
    of = subject.find(str(name), changes=changes, devices=cfg.devices, dtype=cfg.dtype)
    found = inspect.inspect(of, cfg.context)
    print(inspect.text(found))
    if cfg.json:
        manifest.write_atomic(Path(cfg.json), json.dumps(inspect.as_json(found), indent=1) + "\n")
