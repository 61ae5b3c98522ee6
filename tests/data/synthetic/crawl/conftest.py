from __future__ import annotations

import pytest

from lm.data.synthetic.crawl import Truth, write_crawl


@pytest.fixture(scope="session")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    """A small crawl of four files, and the truth about it; not to be changed."""
    return write_crawl(tmp_path_factory.mktemp("crawl"), seed=3, n_pages=1000)
