"""The arguments and options of a call, and the checks of these before anything starts."""
