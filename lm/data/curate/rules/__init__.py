"""Rule sets: named limits with sources, for each kind of text those that were made for it."""
