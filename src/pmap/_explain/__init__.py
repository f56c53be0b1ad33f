"""What `explain` tells of a call: a trial of a few items, and what a whole call would take."""
