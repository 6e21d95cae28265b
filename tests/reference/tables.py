"""A page for each table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reference.markdown import bullets, code, codes, fence, join, section, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from honua_schema.privileges import Privilege
    from reference.markdown import Links
    from reference.schema import Column, ForeignKey, Function, Schema, Table

DOES = {"select": "reads", "insert": "inserts", "update": "updates", "delete": "deletes"}
CUSTOMER = "(SELECT nullif(current_setting('honua.customer_id', true), ''))"


def page(schema: Schema, links: Links, subject: Table) -> str:
    """Return the page of a table."""
    diagrams = links.path("diagrams.md")
    return join(
        f"# {subject.name}",
        links.prose(subject.comment) + ".",
        links.prose(subject.about),
        f"Domain [{subject.domain}]({diagrams}#{subject.domain}), model `{subject.model}`.",
        section("Columns", _columns(schema, links, subject)),
        section("Who writes it", _writers(schema, links, subject)),
        section("Who reads it", _readers(schema, links, subject)),
        section("Privileges", _privileges(schema, subject)),
        section("Row security", _policies(schema, subject)),
        section("Rules", _rules(schema, links, subject)),
        section("Foreign keys", _foreign_keys(links, subject)),
        section("Referred to by", _references(schema, links, subject)),
        section("Indexes", _indexes(links, subject)),
        section("Triggers", _triggers(schema, links, subject)),
        section("Partitions", _partitions(links, subject)),
        section("Storage", _storage(subject)),
    )


def column_type(links: Links, column: Column) -> str:
    """Return the type of a column, as a link if it is one with rules."""
    return links.to(column.type) if column.type in links.places else code(column.type)


def _columns(schema: Schema, links: Links, subject: Table) -> str:
    rows = []
    for column in subject.columns:
        kind = schema.types.get(column.type)
        default = column.default or (kind and kind.default)
        required = column.is_required or bool(kind and kind.is_required)
        rows.append(
            (
                code(column.name),
                column_type(links, column),
                code(default) if default else "",
                "" if required else "yes",
                links.prose(column.comment),
            )
        )
    return table(("Column", "Type", "Default", "May be NULL", "Meaning"), rows)


def callers(schema: Schema, links: Links, function: Function) -> Iterator[str]:
    """Yield who calls a function: roles, triggers, other functions, conditions of row security."""
    yield from map(code, schema.manifest.functions[function.name])
    for trigger in schema.triggers_calling(function.name):
        yield f"trigger {links.to(trigger.name)}"
    for other in schema.functions_calling(function.name):
        yield links.call(other.name)
    for name, by_role in schema.manifest.tables.items():
        conditions = (
            f"{each.rows} {each.new_rows}" for privileges in by_role.values() for each in privileges
        )
        if any(f"{function.name}(" in condition for condition in conditions):
            yield f"row security of {links.to(name)}"


def _writers(schema: Schema, links: Links, subject: Table) -> str:
    rows = []
    for role, privileges in schema.manifest.tables[subject.name].items():
        if verbs := [DOES[each.verb] for each in privileges if each.verb != "select"]:
            rows.append((code(role), ", ".join(verbs), "SQL of its own"))
    for function in schema.functions.values():
        if verbs := [DOES[verb] for verb in function.uses.get(subject.name, ()) if verb != "select"]:
            who = list(callers(schema, links, function)) or ["the owner"]
            rows.append((", ".join(who), ", ".join(verbs), links.call(function.name)))
    for trigger in schema.triggers_on(subject.name):
        if columns := schema.functions[trigger.function].sets:
            by = f"trigger {links.to(trigger.name)}"
            rows.append((by, f"sets {codes(columns)}", links.call(trigger.function)))
    return join(
        table(("Who", "Does", "With"), rows),
        "The owner may do everything." if rows else "The owner alone.",
    )


def _readers(schema: Schema, links: Links, subject: Table) -> str:
    roles = [
        code(role)
        for role, privileges in schema.manifest.tables[subject.name].items()
        if any(each.verb == "select" for each in privileges)
    ]
    views = [links.to(each.name) for each in schema.views.values() if subject.name in each.uses]
    functions = [
        links.call(each.name)
        for each in schema.functions.values()
        if "select" in each.uses.get(subject.name, ())
    ]
    named = (("Roles", roles), ("Views", views), ("Functions", functions))
    return bullets(f"{title}: {', '.join(names)}" for title, names in named if names)


def columns_of(privilege: Privilege, subject: Table) -> str:
    """Return in words to which columns a privilege applies."""
    if privilege.columns is None or privilege.verb == "delete":
        return "all columns"
    missing = [column.name for column in subject.columns if column.name not in privilege.columns]
    if not missing:
        return "all columns"
    if len(missing) < len(privilege.columns):
        return f"all columns but {codes(missing)}"
    return codes(privilege.columns)


def _privileges(schema: Schema, subject: Table) -> str:
    by_role = schema.manifest.tables[subject.name]
    return bullets(
        f"{code(role)} {DOES[each.verb]} " + ("rows" if each.verb == "delete" else columns_of(each, subject))
        for role, privileges in by_role.items()
        for each in privileges
    )


def _policies(schema: Schema, subject: Table) -> str:
    def condition(rows: str | None) -> str:
        return code(rows.replace(CUSTOMER, "$customer")) if rows else ""

    rows = [
        (code(f"{role}_{each.verb}"), each.verb.upper(), condition(each.rows), condition(each.new_rows))
        for role, privileges in schema.manifest.tables[subject.name].items()
        for each in privileges
    ]
    names_customer = any("$customer" in cell for row in rows for cell in row)
    return join(
        "A row can be used when the condition of the role's policy is true. The owner is not bound by it.",
        table(("Policy", "For", "Rows", "Rows as they will be"), rows),
        f"`$customer` stands for `{CUSTOMER}`, the customer of the transaction's scope. Where that is not"
        " set, there are no rows."
        if names_customer
        else "",
    )


def _rules(schema: Schema, links: Links, subject: Table) -> str:
    of_columns = [
        f"{code(rule.name)} of {code(column.name)}, by its type {links.to(column.type)}:"
        f" {code(rule.definition)}"
        for column in subject.columns
        if column.type in schema.types
        for rule in schema.types[column.type].rules
    ]
    return bullets([*(f"{code(rule.name)}: {code(rule.definition)}" for rule in subject.rules), *of_columns])


def _foreign_keys(links: Links, subject: Table) -> str:
    return table(
        ("Foreign key", "Columns", "Refers to", "When that row goes"),
        [
            (
                code(key.name),
                codes(key.columns),
                f"{links.to(key.referred_table)} ({codes(key.referred_columns)})",
                code(key.action) if key.action else "",
            )
            for key in subject.foreign_keys
        ],
    )


def _references(schema: Schema, links: Links, subject: Table) -> str:
    def row(key: ForeignKey) -> tuple[str, ...]:
        return (
            links.to(key.table),
            codes(key.columns),
            codes(key.referred_columns),
            code(key.action) if key.action else "",
        )

    keys = schema.foreign_keys_to(subject.name)
    return table(("Table", "Columns there", "Columns here", "When the row here goes"), map(row, keys))


def _indexes(links: Links, subject: Table) -> str:
    return table(
        ("Index", "Kind", "On", "Serves"),
        [
            (
                code(index.name),
                f"unique {index.method}" if index.is_unique else index.method,
                code(index.keys),
                links.prose(index.serves),
            )
            for index in subject.indexes
        ],
    )


def _triggers(schema: Schema, links: Links, subject: Table) -> str:
    return table(
        ("Trigger", "When", "Calls", "Meaning"),
        [
            (
                links.to(trigger.name),
                code(f"{trigger.moment} {trigger.events}"),
                links.call(trigger.function),
                links.prose(trigger.comment),
            )
            for trigger in schema.triggers_on(subject.name)
        ],
    )


def _partitions(links: Links, subject: Table) -> str:
    if not subject.partition_key:
        return ""
    makes, drops = links.call("ensure_log_partitions"), links.call("drop_old_log_partitions")
    return (
        f"By {code(subject.partition_key)}: a partition for each month (UTC) in the schema"
        f" `honua_partitions`, and `honua_partitions.{subject.name}_default` for rows of other months."
        f" {makes} makes them, {drops} drops them."
    )


def _storage(subject: Table) -> str:
    return fence("text", subject.storage_options.replace(", ", "\n")) if subject.storage_options else ""
