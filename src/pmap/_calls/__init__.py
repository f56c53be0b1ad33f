"""The arguments and options of a call, and their checks, which run before anything starts."""
