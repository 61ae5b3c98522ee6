"""Classifiers of text: toxicity, adult content, spam, quality; trained here, by fastText, or by any language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.curate.classify import fast_text, generated, linear
from lm.data.curate.classify.steps import Classified, Scored

__all__ = ["KINDS", "Classified", "Scored", "defaults", "generated", "linear", "make", "trained"]

KINDS = ("toxicity", "adult", "spam", "quality")
_MODELS = "models"


def defaults() -> dict[str, dict[str, Any]]:
    """Returns the keys of each classifier's section.

    An unset model is trained on the generated corpus: it shows the way, and knows that corpus only.
    """
    section: dict[str, Any] = {"model": "", "label": "", "min": 0.0, "max": 0.5}
    return {kind: {**section, **({"min": 0.5, "max": 1.0} if kind == "quality" else {})} for kind in KINDS}


def explanations() -> dict[str, str]:
    """Returns what each key means."""
    said = {
        "model": "a directory made by `lm classifier`, or a fastText model; unset, one is trained on generated text",
        "label": "of a fastText model, the one whose probability counts",
        "min": "drop what is less probable",
        "max": "drop what is more probable",
    }
    return {f"{kind}.{key}" if key else kind: text for kind in KINDS for key, text in {"": "", **said}.items()}


def check(kind: str, section: Any) -> None:
    """Refuses what can be known to be wrong before any work.

    Raises:
        UserError: limits out of order, or a model that is missing or unlike what its name says.
    """
    model, label = section["model"], section["label"]
    if not 0 <= section["min"] <= section["max"] <= 1:
        raise UserError(f"config.{kind}.min={section['min']}, max={section['max']}: must be 0 ≤ min ≤ max ≤ 1")
    is_fast_text = model.endswith(fast_text.SUFFIXES)
    if label and not is_fast_text:
        raise UserError(f"config.{kind}.label={label}: only fastText models (.bin, .ftz) have labels; leave it empty")
    if not model:
        return
    if not Path(model).exists():
        raise UserError(f"config.{kind}.model={model}: no such file or folder; `lm classifier` makes one")
    if is_fast_text:
        fast_text.check(model, label)
    else:
        linear.load(model)


def make(kind: str, section: Any, output: Path) -> Classified:
    """Returns the step of a kind; its model is trained or copied below `output`, once, unless it is a fastText one.

    Raises:
        UserError: as `check`.
    """
    check(kind, section)
    model, label = section["model"], section["label"]
    if not model:
        model = str(trained(kind, output))
    elif not model.endswith(fast_text.SUFFIXES):
        manifest.copy_stage(Path(model), output / _MODELS / kind, linear.STAGE)
        model = str(output / _MODELS / kind)
    return Classified(kind, model, label, section["min"], section["max"])


def trained(kind: str, output: Path) -> Path:
    """Trains the classifier of a kind on the generated corpus, unless that is done, and returns its directory."""
    folder = output / _MODELS / kind
    if manifest.find(folder, linear.STAGE) is None:
        generated.train(kind, folder, {"kind": kind})
    return folder
