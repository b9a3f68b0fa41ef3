"""What a VM document means: why an instance failed, waits or is away, what it was, and the steps of its life. Data, no layout."""
