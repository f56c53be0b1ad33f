"""How values and messages become bytes; caller and workers use the modules of this package."""
