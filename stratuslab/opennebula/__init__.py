"""OpenNebula's vocabulary: states, error codes, the template syntax, the VM document. Nothing here does input or output."""
