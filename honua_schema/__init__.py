"""The PostgreSQL schema of the Honua Build Orchestrator."""

__version__ = "0.1.0"
