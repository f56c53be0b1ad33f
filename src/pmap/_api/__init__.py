"""What users call and hold: the verbs, `Pool`, `Executor`, and the handles of calls in progress."""
