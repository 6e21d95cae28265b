"""The demo: an embedded PostgreSQL with realistic data, and what the schema answers about it.

``command`` is what ``honua-schema demo`` runs. ``world`` decides who orders what and when, ``generator``
makes rows of it, ``load`` copies them into a database, and ``questions`` are asked at the end.
"""
