"""The Marketplace: what an image's identifier is, what its metadata says, and where to look it up."""
