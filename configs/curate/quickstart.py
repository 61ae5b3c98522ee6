"""The quickstart's curation: a generated crawl with planted boilerplate, duplicates, spam, toxic text, PII and leaks.

lm quickstart --workdir=runs/quickstart

Web rules but for C4's, whose line rules would take the answers from under the questions; a page that is half
questions and answers also has fewer words with a letter than Gopher's 0.8. `:smoke` observes less.
"""

from ml_collections import ConfigDict

from lm.data.curate import recipe
from lm.train import defaults


def get_config(arg: str = "") -> ConfigDict:
    """Returns the config; `arg` may be `smoke`."""
    cfg = recipe.defaults()
    cfg.steps = tuple(name for name in recipe.chain("web") if name != "c4")
    cfg.language.keep = ("en",)
    cfg.dedup.prefer = "quality"
    cfg.gopher_quality.min_words_with_letter = 0.7
    if defaults.is_smoke(arg):
        cfg.observed, cfg.sample.documents = 20, 50
    return cfg
