"""SSH to instances: where they listen, waiting for them, the user's keys, host keys, and OpenSSH or paramiko to log in."""
