"""Builds the image ``tiny``: a small Linux from the distribution's packages, without root."""
