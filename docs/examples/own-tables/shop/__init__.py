"""A shop that sells builds: an example of a project with tables of its own beside those of honua-schema."""
