"""Values and messages as bytes, and what both sides of a connection know of them."""
