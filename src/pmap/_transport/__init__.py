"""How values and messages become bytes; the caller and its workers use the same modules."""
