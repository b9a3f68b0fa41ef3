"""The state of the embedded cloud: the SQLite database, instance records, address leases and volumes."""
