"""``python -m pmap doctor``: what matters on this machine, what works, and what to change."""
