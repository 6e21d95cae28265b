"""Writes the pages below docs/reference: ``make reference``.

What the pages say is read where it is declared or does its work: the catalog of a database at head (tables,
rules, indexes, views, functions, triggers, and their comments), the models (which query an index serves),
privileges.toml, the docstrings of the revisions and of the typed Python calls, and the command line. Only
headings and what joins them are written here; the example calls are in examples.sql.

It stands beside the tests, as `hammer` does: it needs a server of its own and is of no use to who installs
the package, and tests/test_reference.py runs it to see whether a page is stale.

Diagrams are made from the catalog too. paracelsus 0.15, which draws models, did not serve: it knows neither a
diagram of names alone nor one of keys, spells types as PostgreSQL does not (CHAR(32), DATETIME, BLOB), draws
each column of a composite foreign key as a relation of its own, at times of many rows to many, and can't tell
a relation that may be missing from one that may not.
"""
