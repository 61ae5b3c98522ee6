"""Says where a model fits, how fast it trains and what that costs: lm plan --config=… --topology=v5p:4x4x4

The slice need not be there: the training step itself is compiled for it, by libtpu on any machine (pip install
'lm[tpu]'). `--search` tries meshes, rematerialisation and micro-batches on paper and compiles the best three. GPUs that
are not here are counted on paper alone; `--topology=cpu` and `gpu` are this machine, where a step that is short is
timed too. Estimates of time are fitted to published runs, and printed with their error on runs left out of the fit.
"""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict, config_dict

TAKES_CONFIG = "subject"  # the key that --config=FILE is: a config of another stage, not of this one
SUBJECT = "subject"


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "plan",
            "subject": "",  # a config FILE[:arg] of lm pretrain, a run directory, or a preset such as llama3-8b
            "topology": "",  # such as v5p:4x4x4, v6e:16x16, h100:2x8 (nodes of 8), rtx4090; or cpu, gpu: this machine
            "set": {},  # keys of its config to set otherwise, such as --set.mesh.fsdp=8
            "search": False,  # for the best mesh, remat and micro-batches, whatever the config says of them
            "compile": config_dict.placeholder(int),  # layouts to compile, at most; unset: 1, or 3 in a search; 0: none
            "limit_seconds": 480.0,  # no further layout is compiled if it would end later
            "decode": False,  # compile a step of decoding as well
            "price": config_dict.placeholder(float),  # US dollars of a chip for an hour; unset: the list price, if any
            "json": "",  # a file to write it all to as well
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Prints the plan."""
    import json
    import os
    import sys

    if cfg.topology not in ("cpu", "gpu"):
        os.environ["JAX_PLATFORMS"] = "cpu"  # libtpu serves one process, and that is to be the one that compiles

    from lm.common import config as configs
    from lm.common import manifest
    from lm.common.errors import UserError
    from lm.study.plan import planner, report

    if not (name := cfg.subject or workdir):
        raise UserError(
            "--config: not given; name a config of lm pretrain, or a preset: lm plan llama3-8b --topology=…"
        )
    if not cfg.topology:
        raise UserError("--topology: not given; name a slice, such as v5p:4x4x4, or this machine: cpu, gpu")
    if min(cfg.compile or 0, cfg.price or 0) < 0:
        raise UserError(f"--compile={cfg.compile}, --price={cfg.price}: give numbers that are not negative")
    options = planner.Options(
        cfg.search, cfg.compile, cfg.limit_seconds, cfg.decode, cfg.price, dict(configs.flatten(cfg.set))
    )
    plan = planner.make(str(name), cfg.topology, options, lambda line: print(line, file=sys.stderr, flush=True))
    print(report.text(plan))
    if cfg.json:
        manifest.write_atomic(Path(cfg.json), json.dumps(report.as_json(plan), indent=1) + "\n")
