"""What every table shares: declarative base, naming convention, column types, constraint helpers."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from sqlalchemy import (
    DDL,
    BigInteger,
    CheckConstraint,
    DateTime,
    Enum,
    FetchedValue,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Text,
    TypeDecorator,
    Uuid,
    event,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, mapped_column
from sqlalchemy.orm.attributes import set_committed_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Column, Connection, Table
    from sqlalchemy.orm import Mapper
    from sqlalchemy.types import TypeEngine

NAMING_CONVENTION = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}

PARTITION_SCHEMA = "honua_partitions"
"""The schema that holds the partitions of the four log tables, and nothing else."""


class Json(JSONB[Any]):
    """JSON in which None is NULL, as in SQL: neither the null of JSON, which is a value, nor the default."""

    should_evaluate_none = True

    def __init__(self) -> None:
        super().__init__(none_as_null=True)


class Address(INET):
    """Address of a machine or network, as text: psycopg makes an object of it, which is equal to no text."""

    def result_processor(self, *_: Any) -> Callable[[Any], str | None]:
        """Return what makes text of the driver's objects."""
        return lambda value: None if value is None else str(value)


class Base(DeclarativeBase):
    """The declarative base of all 17 tables."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it as declared
        datetime.datetime: DateTime(timezone=True),
        dict[str, Any]: Json,
        str: Text,
        uuid.UUID: Uuid,
    }


ModelType = TypeVar("ModelType", bound=Base)

# For children whose foreign key is ON DELETE CASCADE: the database deletes those that are not loaded, and the
# session those that are. It would else take them from their parent first, or keep them as if they were there.
DELETED_ALONG: dict[str, Any] = {"cascade": "save-update, merge, delete", "passive_deletes": True}

CreationTimestamp = Annotated[
    datetime.datetime, mapped_column(DateTime(timezone=True), server_default=text("now()"))
]
UpdateTimestamp = Annotated[
    datetime.datetime,
    mapped_column(DateTime(timezone=True), server_default=text("now()"), server_onupdate=FetchedValue()),
]
"""When a row last changed. A trigger sets it, and `fetch_update_timestamp` has it there after a flush."""
GeneratedUuid = Annotated[
    uuid.UUID, mapped_column(Uuid, primary_key=True, server_default=text("gen_random_uuid()"))
]
GeneratedNumber = Annotated[int, mapped_column(BigInteger, primary_key=True, autoincrement=True)]

ByteCount = Annotated[int, mapped_column(BigInteger)]
Seconds = Annotated[decimal.Decimal, mapped_column(Numeric(10, 2))]
WholeSeconds = Annotated[int, mapped_column(Integer)]
Fraction = Annotated[decimal.Decimal, mapped_column(Numeric(3, 2))]

String10 = Annotated[str, mapped_column(String(10))]
String20 = Annotated[str, mapped_column(String(20))]
String50 = Annotated[str, mapped_column(String(50))]
String64 = Annotated[str, mapped_column(String(64))]
String71 = Annotated[str, mapped_column(String(71))]
String100 = Annotated[str, mapped_column(String(100))]
String255 = Annotated[str, mapped_column(String(255))]
CustomerId = Annotated[str, mapped_column(String(100))]
TakenCustomerId = Annotated[str, mapped_column(String(100), server_default=FetchedValue())]
"""The customer of what a row belongs to: a trigger fills it, so that an INSERT leaves it out."""


@event.listens_for(Base, "after_update", propagate=True)
def fetch_update_timestamp(mapper: Mapper[Any], connection: Connection, row: Base) -> None:
    """Fetch the time that a trigger gave a row: were it loaded when looked at, asyncio would have no way to.

    The option eager_defaults would let the UPDATE return it, but then ask for all columns with a default that
    are not loaded, such as those that honua_app may not read.
    """
    if "updated_at" in inspect(row).expired_attributes:
        key = zip(mapper.primary_key, mapper.primary_key_from_instance(row), strict=True)
        query = select(mapper.columns.updated_at).where(*(column == value for column, value in key))
        set_committed_value(row, "updated_at", connection.scalar(query))


def enum_type(values: type[enum.StrEnum], length: int = 20) -> Enum:
    """Map a StrEnum to VARCHAR; the table's named CHECK, made by `one_of`, guards the values.

    Args:
        values: The enumeration whose values the column may hold.
        length: The length of the VARCHAR, in characters.
    """
    return Enum(
        values,
        native_enum=False,
        create_constraint=False,
        length=length,
        values_callable=lambda members: [member.value for member in members],
    )


def one_of(column: str, values: type[enum.StrEnum]) -> CheckConstraint:
    """A CHECK that the column holds one of the enumeration's values."""
    listed = ", ".join(f"'{member.value}'" for member in values)
    return _rule(column, f"{{0}} IN ({listed})", "allowed")


def in_range(column: str, minimum: int = 0, maximum: int | None = None) -> CheckConstraint:
    """A CHECK that the column lies between two whole numbers, both included."""
    condition = f"{{0}} >= {minimum}"
    if maximum is not None:
        condition += f" AND {{0}} <= {maximum}"
    return _rule(column, condition, "range")


def finite(column: str) -> CheckConstraint:
    """A CHECK that a NUMERIC column is at least zero, and a number (NaN sorts above every number)."""
    return _rule(column, "{0} >= 0 AND {0} < 'NaN'", "range")


def json_object(column: str) -> CheckConstraint:
    """A CHECK that a JSONB column holds an object."""
    return _rule(column, "jsonb_typeof({0}) = 'object'", "object")


def short_elements(column: str) -> CheckConstraint:
    """A CHECK that what a TEXT[] column holds fits into the keys of a GIN index, which end at 2.7 kB."""
    return _rule(column, "octet_length(array_to_string({0}, '')) <= 2000", "length")


def _rule(column: str, condition: str, kind: str) -> CheckConstraint:
    info = {"column": column, "condition": condition.format("VALUE")}
    return CheckConstraint(condition.format(column), name=f"{column}_{kind}", info=info)


class Domain(TypeDecorator[Any]):
    """A type of the database's own: another type, and a rule that each of its values keeps.

    Args:
        name: The domain's name.
        data_type: The type that it restricts, which also says what values are in Python.
        rule: Name of the rule.
        condition: The rule, which calls the value VALUE.
        comment: What the domain is for.
    """

    impl = String
    cache_ok = True

    def __init__(
        self, name: str, data_type: TypeEngine[Any], rule: str, condition: str, comment: str
    ) -> None:
        super().__init__()
        self.name = name
        self.data_type = data_type
        self.rule = rule
        self.condition = condition
        self.comment = comment
        self.should_evaluate_none = data_type.should_evaluate_none
        self.impl_instance = data_type
        self.impl = data_type  # type: ignore[assignment]  # SQLAlchemy itself does so for each dialect

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Return the type of what a value of this type is compared with, or looked up by."""
        return self.data_type.coerce_compared_value(op, value)

    @property
    def create_statement(self) -> str:
        """The statements that create the domain."""
        base = self.data_type.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
        comment = self.comment.replace("'", "''")
        return (
            f"CREATE DOMAIN {self.name} AS {base} CONSTRAINT {self.rule} CHECK ({self.condition});\n"
            f"COMMENT ON DOMAIN {self.name} IS '{comment}';"
        )


@compiles(Domain)
def _name_domain(domain: Domain, *_: Any, **__: Any) -> str:
    return domain.name


def rules_in_domains(model: type[ModelType]) -> type[ModelType]:
    """Let the rules of a table's columns be those of domains, with the same names, instead of CHECKs.

    PostgreSQL reads the CHECKs of a table anew at each statement that writes to it, whatever columns that
    changes; for the tables that each build goes through, that was a third of the work. A domain's rule is
    read once in a session, and heeded where a value of it comes about.
    """
    table = cast("Table", model.__table__)
    for constraint in [each for each in table.constraints if "condition" in each.info]:
        column = table.columns[constraint.info["column"]]
        domain = Domain(
            f"{table.name}_{column.name}",
            column.type,
            str(constraint.name),
            constraint.info["condition"],
            f"Values of {table.name}.{column.name}",
        )
        column.type = domain
        table.constraints.remove(constraint)
        for moment, statement in (
            ("before_create", domain.create_statement.replace("%", "%%")),
            ("after_drop", f"DROP DOMAIN {domain.name}"),
        ):
            event.listen(table, moment, DDL(statement))  # type: ignore[no-untyped-call]
    return model


def domains() -> dict[str, Column[Any]]:
    """Return the columns whose types are domains, by the domains' names."""
    return {
        column.type.name: column
        for table in Base.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, Domain)
    }


def index(name: str, *keys: Any, serves: str, **options: Any) -> Index:
    """Declare an index together with the query that it is there for.

    Args:
        name: The index's name.
        *keys: Column names or expressions.
        serves: The query or rule that the index serves, as the reference prints it.
        **options: What `sqlalchemy.Index` takes besides: `unique`, and PostgreSQL's without their prefix.
    """
    unique = options.pop("unique", False)
    dialect_options = {f"postgresql_{option}": value for option, value in options.items()}
    if "where" in dialect_options:
        dialect_options["postgresql_where"] = text(dialect_options["postgresql_where"])
    return Index(name, *keys, unique=unique, info={"serves": serves}, **dialect_options)


def after_create(model: type[Base], statement: str) -> None:
    """Run a statement whenever `create_all` makes the model's table."""
    event.listen(model.__table__, "after_create", DDL(statement))  # type: ignore[no-untyped-call]


def sequence(model: type[Base], name: str, comment: str) -> None:
    """Give a table a sequence that fills none of its columns."""
    after_create(model, f"CREATE SEQUENCE {name}")
    after_create(model, f"COMMENT ON SEQUENCE {name} IS '{comment}'")
    event.listen(model.__table__, "after_drop", DDL(f"DROP SEQUENCE {name}"))  # type: ignore[no-untyped-call]


def partitioned_by_month(model: type[ModelType]) -> type[ModelType]:
    """Give a log table its default partition, so that an insert finds a place whatever its time."""
    partition = f"{PARTITION_SCHEMA}.{model.__tablename__}_default"
    after_create(model, f"CREATE SCHEMA IF NOT EXISTS {PARTITION_SCHEMA}")
    after_create(model, f"CREATE TABLE {partition} PARTITION OF {model.__tablename__} DEFAULT")
    return model
