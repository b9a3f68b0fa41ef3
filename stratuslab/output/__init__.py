"""How results look, and the messages on stderr. What the data means is decided elsewhere."""
