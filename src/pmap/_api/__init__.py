"""What users call and get: the verbs, `Pool`, `Executor`, and the handles of calls in progress."""
