"""The steps that several commands take, and what is asked of the person or read of the options on the way."""
