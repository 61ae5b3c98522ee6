"""A `config.json` read key by key: what nobody reads, and is not known to change nothing, is refused by name."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lm.common.errors import UserError

T = TypeVar("T")
REQUIRED: Any = object()  # in place of a default
_EMPTY: tuple[Any, ...] = (None, False, "", [], {})
_LARGEST = sys.float_info.max
_SHOWN = 60  # characters of a value that a message shows

# Keys of any family that change no logit: what made the file, training, where tensors are computed, and generation,
# which older versions wrote into the same file.
_ORIGIN = """model_type architectures auto_map transformers_version _name_or_path name_or_path _commit_hash dtype
torch_dtype is_llama_config transformers.js_config task_specific_params custom_pipelines"""
_TRAINING = """initializer_range initializer_factor init_std attention_dropout attn_dropout attn_pdrop embd_pdrop
embd_dropout resid_pdrop resid_dropout hidden_dropout hidden_dropout_prob dropout attention_probs_dropout_prob
classifier_dropout gradient_checkpointing problem_type id2label label2id summary_type summary_use_proj
summary_activation summary_proj_to_labels summary_first_dropout"""
_COMPUTATION = """use_cache attn_implementation _attn_implementation _attn_implementation_internal pretraining_tp
return_dict output_attentions output_hidden_states chunk_size_feed_forward keys_to_ignore_at_inference
is_encoder_decoder"""
_GENERATION = """bos_token_id eos_token_id pad_token_id unk_token_id sep_token_id cls_token_id mask_token_id
decoder_start_token_id do_sample temperature top_k top_p typical_p max_length min_length max_new_tokens num_beams
num_beam_groups diversity_penalty repetition_penalty length_penalty early_stopping no_repeat_ngram_size
encoder_no_repeat_ngram_size num_return_sequences remove_invalid_values"""
INERT = frozenset(f"{_ORIGIN} {_TRAINING} {_COMPUTATION} {_GENERATION}".split())


class Settings:
    """The keys of one `config.json`, each read as what it has to be; `finish` refuses those that nobody read.

    A `default` stands for a key that is absent or null; without one the key has to be there.
    """

    def __init__(self, values: Mapping[str, Any], where: str = "config.json") -> None:
        self.where = where
        self._values = dict(values)
        self._read: set[str] = set()
        self._sections: dict[str, Settings] = {}

    def __bool__(self) -> bool:
        return bool(self._values)

    @property
    def paths(self) -> list[tuple[str, ...]]:
        """The keys that were read, those of objects after the objects' own."""
        inner = [(key, *path) for key, section in self._sections.items() for path in section.paths]
        return sorted([*((key,) for key in self._read), *inner])

    def given(self, key: str) -> bool:
        """Says whether a key is there and not null."""
        return self._values.get(key) is not None

    def says(self, key: str, value: Any) -> bool:
        """Says whether a key has this value, which need not be of the kind that others of the key are."""
        self._read.add(key)
        return bool(self._values.get(key) == value)

    def take(self, key: str, default: Any = REQUIRED) -> Any:
        """Reads a value of any kind, which the caller has to look at.

        Raises:
            UserError: the key is absent and there is no default.
        """
        self._read.add(key)
        if self.given(key):
            return self._values[key]
        if default is REQUIRED:
            raise UserError(f"{self.where}: {key} is missing; take config.json from where the checkpoint is from")
        return default

    def integer(self, key: str, default: Any = REQUIRED, *, least: int = 0, null: Any = REQUIRED) -> int:
        """Reads a whole number from `least` on; `null`, if given, is what null stands for in place of `default`.

        Raises:
            UserError: it is none, or absent without a default.
        """
        value = self.take(key, self._fallback(key, default, null))
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        if self.given(key) and not (is_whole and least <= value < 2**31):
            bound = "below 2^31" if is_whole and value >= least else f"of at least {least}"
            raise self.refusal(key, value, f"a whole number is expected, {bound}")
        return int(value)

    def number(
        self,
        key: str,
        default: Any = REQUIRED,
        *,
        least: float = -math.inf,
        positive: bool = False,
        null: Any = REQUIRED,
    ) -> float:
        """Reads a finite number of at least `least`, above 0 if `positive`; `null` as for `integer`.

        Raises:
            UserError: it is none, or absent without a default.
        """
        value = self.take(key, self._fallback(key, default, null))
        if not self.given(key):
            return float(value)
        bound = "above 0" if positive else f"of at least {least:g}" if least > -math.inf else "finite"
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) <= _LARGEST or value < least or (positive and value <= 0):
            raise self.refusal(key, value, f"a number is expected, {bound}")
        return float(value)

    def flag(self, key: str, default: Any = REQUIRED) -> bool:
        """Reads a switch.

        Raises:
            UserError: it is none, or absent without a default.
        """
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.refusal(key, value, "true or false is expected")
        return value

    def choice(self, key: str, choices: Mapping[str, T], default: Any = REQUIRED) -> T:
        """Reads a name and returns what `choices` maps it to.

        Raises:
            UserError: a name that is not among them, or none without a default.
        """
        value = self.take(key, default)
        if not isinstance(value, str) or value not in choices:
            raise self.refusal(key, value, f"supported are {', '.join(choices)}")
        return choices[value]

    def items(
        self, key: str, allowed: Collection[T], default: Sequence[T], *, count: int | None = None, least: int = 0
    ) -> list[T]:
        """Reads a list of names or whole numbers, each of them `allowed`: of `count`, or of at least `least`.

        Raises:
            UserError: it is none, or one that is not allowed is among them.
        """
        values = self.take(key, list(default))
        if not isinstance(values, list) or len(values) < least or count not in (None, len(values)):
            raise self.refusal(key, values, f"a list of {f'at least {least}' if count is None else count} is expected")
        for value in values:
            if not isinstance(value, str | int) or isinstance(value, bool) or value not in allowed:
                known = f"0 to {len(allowed) - 1}" if isinstance(allowed, range) else ", ".join(map(str, allowed))
                raise self.refusal(key, value, f"supported are {known}")
        return values

    def section(self, key: str) -> Settings:
        """Returns the keys of an object, none where it is absent; `finish` looks at them too.

        Raises:
            UserError: it is no object.
        """
        values = self.take(key, {})
        if not isinstance(values, dict):
            raise self.refusal(key, values, "an object is expected")
        return self._sections.setdefault(key, Settings(values, f"{self.where}: {key}"))

    def expect(self, key: str, value: Any) -> None:
        """Reads a key that may have one value only, or be absent.

        Raises:
            UserError: it has another.
        """
        if (found := self.take(key, value)) != value:
            raise self.refusal(key, found, f"only {json.dumps(value)} is supported")

    def drop(self, *keys: str) -> None:
        """Passes over keys that change nothing in this family."""
        self._read.update(keys)

    def refusal(self, key: str, value: Any, why: str) -> UserError:
        """Returns the error for a value that cannot be had."""
        return UserError(f"{self.where}: {key}={json.dumps(value)[:_SHOWN]}: {why}")

    def finish(self) -> None:
        """Checks that nothing is left that could change a result: every key was read, is inert, or is empty.

        Raises:
            UserError: a key that this version does not know.
        """
        left = [key for key in self._values.keys() - self._read - INERT if self._values[key] not in _EMPTY]
        if left:
            shown = ", ".join(f"{key}={json.dumps(self._values[key])[:_SHOWN]}" for key in sorted(left)[:5])
            raise UserError(
                f"{self.where}: {shown}: not known for this family, so it may change what the model computes; "
                "if it does not, take it out of the file"
            )
        for section in self._sections.values():
            section.finish()

    def _fallback(self, key: str, default: Any, null: Any) -> Any:
        is_null = key in self._values and not self.given(key)
        return null if is_null and null is not REQUIRED else default


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object.

    Raises:
        UserError: no such file, or it holds no JSON object.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path}: no such file; name a directory in Hugging Face's format") from error
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error}); copy it again from where it is from") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: a JSON object is expected; copy it again from where it is from")
    return values
