"""``python -m pmap doctor`` tells what pmap finds on this machine, what works, what to change."""
