"""Checkpoints: files that keep the results of items, so that a later run need not compute them."""
