"""The image `tiny`: a small Linux made on this computer, without root, of the distribution's own packages."""
