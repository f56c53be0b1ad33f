"""pmap beside its peers: `python -m benchmarks`; docs/performance.md tells how to read it."""
