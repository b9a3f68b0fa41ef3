"""The driver of real machines: QEMU, without root."""
