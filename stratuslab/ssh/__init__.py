"""The way into an instance: where it listens, which keys open it, which host key it has, and who speaks SSH to it."""
