"""How answers look, and the talk on stderr. What the data means is decided elsewhere."""
