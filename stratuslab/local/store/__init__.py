"""What the embedded cloud remembers: the SQLite database, instance records, address leases and volumes."""
