"""The shop's tables, in a PostgreSQL schema of its own."""

from __future__ import annotations

import datetime
import decimal
import uuid
from typing import Any, ClassVar

from sqlalchemy import DateTime, ForeignKey, MetaData, Numeric, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from honua_schema.models import BuildQueue, Customer

SCHEMA = "shop"


class Base(DeclarativeBase):
    """The shop's models. The ones of honua-schema have a base of their own."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    # Not as the schema of the metadata: Alembic would look for the tables of honua-schema in it, too.
    __table_args__: ClassVar[Any] = {"schema": SCHEMA}


class Invoice(Base):
    """What a customer owes for a build."""

    __tablename__ = "invoices"

    id: Mapped[int] = mapped_column(primary_key=True)
    # The column itself, not its name: the table belongs to other metadata.
    customer_id: Mapped[str] = mapped_column(ForeignKey(Customer.customer_id), index=True)
    # A build may be deleted with its customer; what is owed for it stays.
    build_id: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey(BuildQueue.id, ondelete="SET NULL"), index=True
    )
    amount: Mapped[decimal.Decimal] = mapped_column(Numeric(12, 2))
    issued_at: Mapped[datetime.datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    customer: Mapped[Customer] = relationship()
    build: Mapped[BuildQueue | None] = relationship()
