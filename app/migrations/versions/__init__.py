"""One file a step, by number: each says which step it follows."""
