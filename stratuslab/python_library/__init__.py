"""The library for programs: a connected cloud and its machines, which run the commands in this process."""
