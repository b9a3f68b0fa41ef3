"""The driver of simulated machines: an SSH server with a small shell that knows nothing of this computer."""
