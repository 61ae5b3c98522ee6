"""A generated crawl with planted truth: WARC files to curate, and what curation ought to make of them.

The public door:

    truth = write_crawl("out", seed=0, n_pages=8_000)   # out/crawl/…/….warc.gz, out/truth.jsonl, out/benchmark.jsonl
    truth = load("out")
    examples = labelled("toxicity", "train", n=4_000, seed=0)   # for classifiers; the crawl shows the other templates
"""

from lm.data.synthetic.crawl.crawl import Crawl, Item
from lm.data.synthetic.crawl.edits import similarity
from lm.data.synthetic.crawl.labelled import LABELS, labelled
from lm.data.synthetic.crawl.truth import Leak, Page, Truth, load
from lm.data.synthetic.crawl.write import write_crawl

__all__ = ["LABELS", "Crawl", "Item", "Leak", "Page", "Truth", "labelled", "load", "similarity", "write_crawl"]
