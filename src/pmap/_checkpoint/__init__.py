"""Checkpoints: the results of items are kept in a file, so that a later run goes on from there."""
