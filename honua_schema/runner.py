"""Apply, take back and verify the revisions from Python."""

from __future__ import annotations

from alembic.config import Config

from honua_schema.database import resolve_url


def configuration(url: str | None = None) -> Config:
    """Return Alembic's configuration, which needs no alembic.ini.

    Args:
        url: As in `honua_schema.database.resolve_url`.
    """
    config = Config(attributes={"url": resolve_url(url)})
    config.set_main_option("script_location", "honua_schema:")
    return config
