"""Says what sets two runs, configs or presets apart: lm diff runs/a runs/b

Each is a run directory, a config FILE[:arg] or the name of a published architecture. The first line says whether they
are the same architecture, and how much else differs. Then come config keys (those of training only where both have
them), parameters that are added, gone or of another shape, costs for the shorter of their contexts and, of runs, how
far their newest weights lie apart, whether the data is the same, and what was logged last.
"""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict

SUBJECT = ("a", "b")  # what arguments without a key are


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "diff",
            "a": "",  # a run directory, a config FILE[:arg], or a preset such as gpt2-124m
            "b": "",  # another
            "dtype": "bfloat16",  # of caches, where a subject leaves it open
            "json": "",  # a file to write it all to as well
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Prints what differs."""
    import json

    from lm.common import manifest
    from lm.common.errors import UserError
    from lm.study import diff, subject

    if not (cfg.a and cfg.b):
        raise UserError(f"--a={cfg.a} --b={cfg.b}: name two, such as lm diff runs/a runs/b")
    found = diff.diff(*(subject.find(name, dtype=cfg.dtype) for name in (cfg.a, cfg.b)))
    print(diff.text(found))
    if cfg.json:
        manifest.write_atomic(Path(cfg.json), json.dumps(diff.as_json(found), indent=1) + "\n")
