"""Looking at runs: the HTML report."""
