"""What runs the embedded cloud's instances: the driver protocol, the launcher of supervisors, simulated and QEMU machines."""
