"""A `config.json` read key by key: what nobody takes, and is not known to change nothing, is refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm.common.errors import UserError

_REQUIRED: Any = object()

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
    """The keys of one `config.json`; each is taken once, and `finish` refuses those that are left."""

    def __init__(self, values: Mapping[str, Any], where: str = "config.json") -> None:
        self.where = where
        self._left = dict(values)

    def take(self, key: str, default: Any = _REQUIRED) -> Any:
        """Takes a key's value; `default` where the key is absent or null.

        Raises:
            UserError: the key is absent and there is no default.
        """
        value = self._left.pop(key, None)
        if value is not None:
            return value
        if default is _REQUIRED:
            raise UserError(f"{self.where}: {key} is missing; take config.json from where the checkpoint is from")
        return default

    def nullable(self, key: str, absent: Any) -> Any:
        """Takes a key that null switches off: None for null, `absent` where it is not there."""
        return self._left.pop(key, absent)

    def peek(self, key: str, default: Any) -> Any:
        """Returns a key's value, or `default`, and leaves it to be taken."""
        value = self._left.get(key)
        return default if value is None else value

    def integer(self, key: str, default: Any = _REQUIRED, *, least: int = 0) -> Any:
        """Takes a whole number of at least `least`.

        Raises:
            UserError: it is none, or absent without a default.
        """
        value = self.take(key, default)
        if value is not default and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise self.refusal(key, value, f"a whole number is expected, of at least {least}")
        return value

    def number(self, key: str, default: Any = _REQUIRED) -> Any:
        """Takes a number as a float.

        Raises:
            UserError: it is none, or absent without a default.
        """
        value = self.take(key, default)
        if value is default:
            return value
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.refusal(key, value, "a number is expected")
        return float(value)

    def flag(self, key: str, default: Any = _REQUIRED) -> Any:
        """Takes a switch.

        Raises:
            UserError: it is none, or absent without a default.
        """
        value = self.take(key, default)
        if not isinstance(value, bool):
            raise self.refusal(key, value, "true or false is expected")
        return value

    def choice(self, key: str, choices: Mapping[str, Any], default: Any = _REQUIRED) -> Any:
        """Takes a name and returns what `choices` maps it to.

        Raises:
            UserError: a name that is not among them.
        """
        value = self.take(key, default)
        if not isinstance(value, str) or value not in choices:
            raise self.refusal(key, value, f"supported are {', '.join(map(str, choices))}")
        return choices[value]

    def expect(self, key: str, value: Any) -> None:
        """Takes a key that may have one value only, or be absent.

        Raises:
            UserError: it has another.
        """
        if (found := self.take(key, value)) != value:
            raise self.refusal(key, found, f"only {json.dumps(value)} is supported")

    def drop(self, *keys: str) -> None:
        """Takes keys that change nothing in this family."""
        for key in keys:
            self._left.pop(key, None)

    def refusal(self, key: str, value: Any, why: str) -> UserError:
        """Returns the error for a value that cannot be had."""
        return UserError(f"{self.where}: {key}={json.dumps(value)}: {why}")

    def finish(self) -> None:
        """Checks that nothing is left that could change a result: every key was taken, is inert, or is empty.

        Raises:
            UserError: a key that this version does not know.
        """
        left = [key for key, value in self._left.items() if key not in INERT and value not in (None, False, "", [], {})]
        if left:
            shown = ", ".join(f"{key}={json.dumps(self._left[key])[:60]}" for key in sorted(left)[:5])
            raise UserError(
                f"{self.where}: {shown}: not known for this family, so it may change what the model computes; "
                "if it does not, take it out of the file"
            )


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
