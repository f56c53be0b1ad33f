"""What `explain` tells of a call: it tries a few items, and computes what a whole call takes."""
