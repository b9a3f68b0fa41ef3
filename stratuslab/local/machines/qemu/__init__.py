"""The hypervisor ``qemu``: instances as real machines, without root."""
