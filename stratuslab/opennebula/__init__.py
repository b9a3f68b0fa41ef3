"""OpenNebula's vocabulary: states, error numbers, the template grammar, the VM document. Nothing here does input or output."""
