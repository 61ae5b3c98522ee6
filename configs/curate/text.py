"""Text of another kind than web pages, by the rules of its domain: code, dialogue, books or math.

lm curate --config=configs/curate/text.py:books --config.input=gutenberg --config.output=data/books

Rules that fit web prose drop nearly every file of code and every solved problem; see lm/data/curate/rules.
"""

from ml_collections import ConfigDict

from lm.common.errors import UserError
from lm.data.curate import recipe
from lm.data.curate.rules import DOMAINS


def get_config(arg: str = "books") -> ConfigDict:
    """Returns the config for the domain `arg`; `smoke` is books, observed less.

    Raises:
        UserError: a domain that has no rules.
    """
    domain = "books" if arg in ("", "smoke") else arg
    if domain not in DOMAINS:
        raise UserError(f"config argument {arg!r}: no such domain; one of {', '.join(DOMAINS)}")
    cfg = recipe.defaults()
    cfg.steps = recipe.chain(domain)
    if arg == "smoke":
        cfg.observed, cfg.sample.documents = 20, 50
    return cfg
