"""The guest of a simulated machine: an SSH server and a small shell in it that knows nothing of this computer."""
