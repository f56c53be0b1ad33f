"""What users call and hold: the verbs, `Pool`, and the handles of what is under way."""
