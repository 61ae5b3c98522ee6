"""A linear classifier over hashed words: trained in seconds, calibrated, and measured on text it has not seen.

Dims: N texts, F slots of the features, S slots of one text.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lm.common import manifest
from lm.common.errors import UserError
from lm.data.curate.classify import measure
from lm.data.curate.classify.features import matrix, slots_of
from lm.data.curate.dedup.hashing import exact_keys, hash_words

STAGE = "classifier"
WEIGHTS, MEASURED, FACTS = "weights.npy", "measured.npy", "classifier.json"
_BITS = 18
_FOLDS = 3
_HELD_OUT = 5  # one text in so many is for measuring
_LEAST = 20  # texts of each label that can be learned from and measured on
# A slot must be in a hundredth of the texts, within these bounds: rarer ones tell texts apart, not labels.
_SEEN = (3, 10)
_REGULARISATION = 1.0  # inverse, of scikit-learn's logistic regression

Example = tuple[str, int]


@dataclass(frozen=True)
class Linear:
    """Weights [F] float32 and what turns a score into a probability: 1 / (1 + exp(-(slope · score + offset)))."""

    weights: np.ndarray
    bits: int
    slope: float
    offset: float

    def __call__(self, text: str) -> float:
        """Returns the calibrated probability that a text is positive."""
        return self.probability(slots_of(text, self.bits))

    def probability(self, slots: np.ndarray) -> float:
        """Returns the probability that a text with these slots [S] int32 is positive."""
        score = float(self.weights[slots].sum()) / math.sqrt(max(len(slots), 1))
        return 0.5 + 0.5 * math.tanh(0.5 * (self.slope * score + self.offset))  # which cannot overflow


def train(
    examples: Iterable[Example],
    output: Path,
    *,
    inputs: dict[str, str],
    config: dict[str, Any],
    unseen: Iterable[Example] = (),
) -> None:
    """Trains on texts labelled 0 or 1 and writes weights, calibration and what was measured as a finished stage.

    It is measured on `unseen`, or else on every fifth text of each label, which it is not trained on. A text that is
    given twice counts once, so none is on both sides. The order of the examples changes nothing.

    Raises:
        UserError: too few examples of a label, or none with words in common (`inputs` says of what); no scikit-learn.
    """
    learned, unseen = list(examples), list(unseen)
    texts = [text for text, _ in (*learned, *unseen)]
    words = hash_words(texts)
    _, first_N = np.unique(exact_keys(words), return_index=True)  # in an order that owes nothing to the file's
    label_N = np.array([label for _, label in (*learned, *unseen)], np.int64)[first_N]
    _check(label_N, ", ".join(inputs))
    held_N = first_N >= len(learned) if unseen else _every_fifth(label_N)
    x_NF = matrix(words, _BITS)[first_N]
    linear = _fit(x_NF[~held_N], label_N[~held_N], ", ".join(inputs))
    held_F = x_NF[held_N]
    rows = np.split(held_F.indices, held_F.indptr[1:-1])
    probability_N = np.array([linear.probability(row) for row in rows])
    output.mkdir(parents=True, exist_ok=True)
    np.save(output / WEIGHTS, linear.weights)
    np.save(output / MEASURED, np.stack((probability_N, label_N[held_N])))
    facts = {
        "bits": linear.bits,
        "slope": linear.slope,
        "offset": linear.offset,
        "examples": int(np.sum(~held_N)),
        "held_out": int(np.sum(held_N)),
        "positive": float(np.mean(label_N)),
        "calibration_error": measure.calibration_error(probability_N, label_N[held_N]),
        "even": asdict(measure.point(probability_N, label_N[held_N], 0.5)),
        "best": asdict(measure.best(measure.curve(probability_N, label_N[held_N]))),
    }
    manifest.write_atomic(output / FACTS, json.dumps(facts, indent=1) + "\n")
    manifest.write(
        output,
        stage=STAGE,
        config=config,
        inputs=inputs,
        counts={key: facts[key] for key in ("examples", "held_out")},
        files=[output / name for name in (WEIGHTS, MEASURED, FACTS)],
    )


def _check(label_N: np.ndarray, name: str) -> None:
    for label in (0, 1):
        if (count := int(np.sum(label_N == label))) < _LEAST:
            raise UserError(
                f"{name}: {count} different texts labelled {label}, too few to learn from; "
                f"give at least {_LEAST} of each label"
            )


def _every_fifth(label_N: np.ndarray) -> np.ndarray:
    """Returns which texts are measured on: every fifth of each label."""
    held_N = np.zeros(len(label_N), bool)
    for label in (0, 1):
        held_N[np.flatnonzero(label_N == label)[_HELD_OUT - 1 :: _HELD_OUT]] = True
    return held_N


def _fit(x_NF: Any, label_N: np.ndarray, name: str) -> Linear:
    """Fits weights, and calibrates scores from folds that did not train them (Platt, 1999).

    Features count the more the rarer they are (Spärck Jones, 1972); the weights returned hold that already.
    """
    try:
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise UserError("training a classifier needs scikit-learn; pip install 'lm[curate]'") from error

    texts_F = np.bincount(x_NF.indices, minlength=x_NF.shape[1])
    least = int(np.clip(len(label_N) // 100, *_SEEN))
    seen = np.flatnonzero(texts_F >= least)
    if not len(seen):
        raise UserError(f"{name}: no word stands in {least} of the texts, so there is nothing to learn; give more text")
    rarity = np.sqrt(np.log(len(label_N) / texts_F[seen])).astype(np.float32)
    model = LogisticRegression(C=_REGULARISATION, max_iter=1000)
    fitted = CalibratedClassifierCV(model, method="sigmoid", cv=_FOLDS, ensemble=False).fit(
        x_NF[:, seen] * rarity[None, :], label_N
    )
    (calibrated,) = fitted.calibrated_classifiers_
    (sigmoid,) = calibrated.calibrators  # probability is 1 / (1 + exp(a_ · score + b_))
    weights = np.zeros(x_NF.shape[1], np.float32)
    weights[seen] = rarity * calibrated.estimator.coef_[0]
    slope = -float(sigmoid.a_)
    return Linear(weights, _BITS, slope, slope * float(calibrated.estimator.intercept_[0]) - float(sigmoid.b_))


@functools.cache
def load(directory: str | Path) -> Linear:
    """Opens a trained classifier.

    Raises:
        UserError: the directory holds none, or a damaged one.
    """
    directory = Path(directory)
    manifest.read(directory, STAGE)
    facts = read_facts(directory)
    return Linear(np.load(directory / WEIGHTS), facts["bits"], facts["slope"], facts["offset"])


def read_facts(directory: Path) -> dict[str, Any]:
    """Returns what is known of a trained classifier: on how many texts it was trained and measured, and how well."""
    return json.loads((directory / FACTS).read_text(encoding="utf-8"))


def read_measured(directory: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns the probability of every text it was measured on [N] float64, and its label [N] float64, 0 or 1."""
    probability_N, label_N = np.load(directory / MEASURED)
    return probability_N, label_N
