"""The backend that places chunks on an engine: an executor that the program has."""
