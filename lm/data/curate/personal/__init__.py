"""What identifies a person: where it stands in a text, kind by kind."""
