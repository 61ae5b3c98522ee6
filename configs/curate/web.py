"""Web pages: WARC files (or WET, HTML, JSONL, parquet) to clean, deduplicated English text.

lm curate --config=configs/curate/web.py --config.input='crawl/*.warc.gz' --config.output=data/web --config.dry_run=True

shows what each rule would do to a sample; without dry_run it is done. Gopher's, C4's and FineWeb's rules, at their
published limits; MinHash as FineWeb's. `:smoke` observes less.
"""

from ml_collections import ConfigDict

from lm.data.curate import recipe
from lm.train import defaults


def get_config(arg: str = "") -> ConfigDict:
    """Returns the config; `arg` may be `smoke`."""
    cfg = recipe.defaults()
    cfg.steps = recipe.chain("web")
    cfg.language.keep = ("en",)
    cfg.dedup.prefer = "quality"
    if defaults.is_smoke(arg):
        cfg.observed, cfg.sample.documents = 20, 50
    return cfg
