"""Runs the machines of instances: the driver protocol, the launcher of supervisors, simulated and QEMU machines."""
