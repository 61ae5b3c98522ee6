"""Trains a classifier for curation: lm classifier --config.data=labelled.jsonl --config.kind=toxicity --workdir=DIR

A fifth of the labelled texts is held out and measured on. `lm curate --config.toxicity.model=DIR` uses what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from lm.stages import required_workdir


def defaults() -> ConfigDict:
    """Returns every key the stage reads."""
    return ConfigDict(
        {
            "stage": "classifier",
            "dry_run": False,  # count the texts of each label, and train nothing
            "data": "",  # JSON Lines, plain, .gz or .zst; "": the generated corpus, which shows the way
            "kind": "toxicity",  # or adult, spam, quality: the step of `lm curate` it is for
            "text_key": "text",  # of the data
            "label_key": "label",  # whose values are 0 and 1, or false and true
            "positive": "",  # or this is the label that counts as 1, and any other as 0
        }
    )


def run(cfg: ConfigDict, workdir: Path | None) -> None:
    """Trains the classifier into `workdir`, or says of a finished one how good it is."""
    from lm.common import config as configs
    from lm.common import manifest
    from lm.common.errors import UserError
    from lm.data.curate.classify import KINDS, generated, labels, linear

    output = required_workdir(workdir)
    if cfg.kind not in KINDS:
        raise UserError(f"config.kind={cfg.kind}: no such classifier; one of {', '.join(KINDS)}")
    inputs = {cfg.data: labels.fingerprint(Path(cfg.data))} if cfg.data else generated.INPUTS
    if cfg.dry_run:
        print(_describe(cfg, output))
        return
    config = {key: value for key, value in configs.to_dict(cfg).items() if key != "dry_run"}
    if manifest.find_same(output, linear.STAGE, config=config, inputs=inputs):
        print(f"{output}: finished")
    elif cfg.data:
        linear.train(_examples(cfg), output, inputs=inputs, config=config)
    else:
        generated.train(cfg.kind, output, config)
    _report(output)
    print(_summary(output))


def _examples(cfg: ConfigDict) -> Iterator[tuple[str, int]]:
    from lm.data.curate.classify import generated, labels

    if not cfg.data:
        return generated.examples(cfg.kind)
    return labels.read(Path(cfg.data), cfg.text_key, cfg.label_key, cfg.positive)


def _describe(cfg: ConfigDict, output: Path) -> str:
    from collections import Counter

    counts = Counter(label for _, label in _examples(cfg))
    return (
        f"{cfg.data or 'generated corpus'}: {counts[1]:,} texts labelled 1 and {counts[0]:,} labelled 0, into {output}"
    )


def _report(output: Path) -> None:
    from lm.study import classifiers, page

    if not (output / page.REPORT).is_file():
        classifiers.write(output)


def _summary(output: Path) -> str:
    from lm.data.curate.classify import linear
    from lm.data.curate.classify.measure import Point
    from lm.study.page import REPORT

    facts = linear.read_facts(output)
    even, best = Point(**facts["even"]), Point(**facts["best"])
    return (
        f"{output}: trained on {facts['examples']:,} texts, measured on {facts['held_out']:,} others, "
        f"{100 * facts['positive']:.0f} % labelled 1\n"
        f"  at 0.5: precision {even.precision:.3f}, recall {even.recall:.3f}, F1 {even.f1:.3f}\n"
        f"  best at {best.threshold:g}: precision {best.precision:.3f}, recall {best.recall:.3f}, F1 {best.f1:.3f}\n"
        f"  probabilities are off by {facts['calibration_error']:.3f} on average\n"
        f"{output / REPORT}: precision and recall by threshold"
    )
