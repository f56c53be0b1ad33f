"""The engine: the loop that starts workers, sends them chunks of items, and takes their results."""
