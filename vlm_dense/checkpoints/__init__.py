"""Finding and reading weights: what is on this machine, never what would have to be fetched."""
