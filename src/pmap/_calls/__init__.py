"""What was asked for, checked before anything starts."""
