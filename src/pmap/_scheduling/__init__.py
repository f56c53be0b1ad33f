"""Which chunk goes to which worker: pure, events in and commands out."""
