"""The PostgreSQL schema of the Honua Build Orchestrator."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from honua_schema.declared import create_all
    from honua_schema.errors import SchemaError
    from honua_schema.runner import MigrationResult, MigrationRunner
    from honua_schema.security import actor, customer_scope

__version__ = "0.1.0"

__all__ = [
    "MigrationResult",
    "MigrationRunner",
    "SchemaError",
    "__version__",
    "actor",
    "create_all",
    "customer_scope",
]

_HOMES = {
    "MigrationResult": "honua_schema.runner",
    "MigrationRunner": "honua_schema.runner",
    "SchemaError": "honua_schema.errors",
    "actor": "honua_schema.security",
    "create_all": "honua_schema.declared",
    "customer_scope": "honua_schema.security",
}


def __getattr__(name: str) -> Any:
    # Loaded on first use: the models alone, or the command line's help, need none of the others.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
