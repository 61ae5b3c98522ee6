"""Looking at runs: the HTML report, its figures, and what both are read from."""
