"""The single pages: views, triggers, types, roles, revisions, the command line, and the index."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import typer

from honua_schema.cli import DATABASE_OPTIONS, FAILED, PENDING_OR_DRIFTED, USAGE, app
from honua_schema.history import revision_name
from honua_schema.runner import MigrationRunner, configuration
from reference.markdown import bullets, code, codes, fence, join, section, table
from reference.schema import DOMAINS
from reference.tables import DOES, column_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reference.markdown import Links
    from reference.schema import Schema, Trigger

CREATED = re.compile(
    r"^CREATE (?:OR REPLACE )?(?:UNIQUE )?(TABLE|DOMAIN|INDEX|VIEW|FUNCTION|TRIGGER)"
    r" (?:CONCURRENTLY )?(?:IF NOT EXISTS )?([\w.]+)",
    re.MULTILINE,
)
ALTERED = re.compile(r"^ALTER TABLE (?:ONLY )?(\w+)\s+(?:ADD|ALTER|DROP|RENAME|SET)\b", re.MULTILINE)
KINDS = {
    "TABLE": "Tables",
    "DOMAIN": "Types",
    "VIEW": "Views",
    "FUNCTION": "Functions",
    "TRIGGER": "Triggers",
    "INDEX": "Indexes",
}
CHECKLIST = ("Locks", "Online", "Data")  # of a revision's docstring
MOST_INDEXES = 20


def views(schema: Schema, links: Links) -> str:
    """Return the page of the views."""
    return join(
        "# Views",
        "Each runs with the rights of who asks, so that it shows what its reader may see of the tables. Days"
        " and months are those of UTC.",
        *(
            section(
                view.name,
                links.prose(view.comment) + ".",
                table(
                    ("Column", "Type"),
                    ((code(column.name), column_type(links, column)) for column in view.columns),
                ),
                f"Read by {codes(schema.manifest.views[view.name])}. Domain {view.domain}; source"
                f" {code(f'honua_schema/sql/{view.domain}/{view.name}.sql')}:",
                fence("sql", view.source.partition("\nCOMMENT ON")[0]),
            )
            for view in schema.views.values()
        ),
    )


def triggers(schema: Schema, links: Links) -> str:
    """Return the page of the triggers."""
    return join(
        "# Triggers",
        "Triggers of the same moment fire in the order of their names.",
        *(
            section(
                name,
                f"On the table {links.to(name, name)}.",
                *(_trigger(links, each) for each in schema.triggers_on(name)),
            )
            for name in schema.tables
            if schema.triggers_on(name)
        ),
    )


def _trigger(links: Links, trigger: Trigger) -> str:
    facts = [f"{code(f'{trigger.moment} {trigger.events}')}, for each {trigger.level.lower()}"]
    if trigger.condition:
        facts.append(f"When {code(trigger.condition)}")
    facts.append(f"Calls {links.call(trigger.function)}")
    return section(trigger.name, links.prose(trigger.comment) + ".", bullets(facts), level=3)


def types(schema: Schema, links: Links) -> str:
    """Return the page of the types with rules."""
    columns: dict[str, list[str]] = {name: [] for name in schema.types}
    for each in schema.tables.values():
        for column in each.columns:
            if column.type in columns:
                columns[column.type].append(f"{links.to(each.name)}.{code(column.name)}")
    return join(
        "# Types",
        "Types of columns that bring their rules with them: what PostgreSQL calls domains.",
        *(
            section(
                each.name,
                links.prose(each.comment) + "." if each.comment else "",
                bullets(
                    [
                        f"Base type {code(each.base)}" + ("; never NULL" if each.is_required else ""),
                        *([f"Default {code(each.default)}"] if each.default else []),
                        *(f"{code(rule.name)}: {code(rule.definition)}" for rule in each.rules),
                        f"Columns: {', '.join(columns[each.name]) or 'none'}",
                    ]
                ),
            )
            for each in schema.types.values()
        ),
    )


def roles(schema: Schema, links: Links) -> str:
    """Return the page of the roles."""
    manifest = schema.manifest

    def verbs(name: str, role: str) -> str:
        return ", ".join(
            DOES[each.verb] + ("" if each.columns is None or each.verb == "delete" else " in part")
            for each in manifest.tables[name].get(role, ())
        )

    def matrix(kind: str, members: dict[str, Iterable[str]], verb: str) -> str:
        return table(
            (kind, *map(code, manifest.roles)),
            [
                (name, *(verb if role in granted else "" for role in manifest.roles))
                for name, granted in members.items()
            ],
        )

    tables = [
        (links.to(name), *(verbs(name, role) for role in manifest.roles)) for name in sorted(manifest.tables)
    ]
    guide = links.path("../guides/secure.md")
    return join(
        "# Roles",
        f"How to use them is in [Secure a deployment]({guide}). All of it is declared in"
        " `honua_schema/sql/system/privileges.toml`; PUBLIC is granted nothing. The roles can't log in.",
        table(("Role", "For"), ((code(name), schema.roles[name]) for name in manifest.roles)),
        section(
            "Tables",
            "*In part*: some of the columns. The page of the table says which, and which rows. What a"
            " function does with the rights of its owner comes on top.",
            table(("Table", *map(code, manifest.roles)), tables),
        ),
        section("Views", matrix("View", {links.to(k): v for k, v in manifest.views.items()}, "reads")),
        section(
            "Functions",
            "What nobody may call is there for triggers, or for other functions.",
            matrix("Function", {links.call(k): v for k, v in manifest.functions.items()}, "calls"),
        ),
        section(
            "Sequences",
            "Whoever inserts into a table without giving the id takes the next number of its sequence. Those"
            f" that number no rows are for [claims]({links.path('../explain/build-queue.md')}) alone.",
            matrix(
                "Sequence",
                {code(k): v for k, v in manifest.sequences.items() if schema.sequences[k]},
                "takes the next number",
            ),
        ),
    )


def revisions(links: Links) -> str:
    """Return the page of the revisions."""
    from alembic.script import ScriptDirectory

    scripts = list(reversed(list(ScriptDirectory.from_config(configuration()).walk_revisions())))
    runner = MigrationRunner("postgresql://")
    rows, sections = [], []
    for script in scripts:
        title, _, rest = (inspect.getdoc(script.module) or "").partition("\n")
        facts = dict(re.findall(r"^- (\w+): (.+(?:\n  .+)*)", rest, re.MULTILINE))
        plain = {name: links.prose(" ".join(fact.split())) for name, fact in facts.items()}
        name = f"{script.revision}_{revision_name(script)}"
        rows.append((code(name), links.prose(title), *(plain.get(each, "") for each in CHECKLIST)))
        statements = runner.sql(script.revision, start=str(script.down_revision or "base"))
        sections.append(section(name, links.prose(title), bullets(_installed(links, statements))))
    return join(
        "# Revisions",
        "`honua-schema upgrade` applies them in this order, each in a transaction of its own;"
        " `honua-schema downgrade` takes them back.",
        table(("Revision", "What it is about", *CHECKLIST), rows),
        *sections,
    )


def _installed(links: Links, statements: str) -> Iterator[str]:
    created: dict[str, list[str]] = {}
    for kind, name in CREATED.findall(statements):
        if "." not in name and name != "alembic_version":
            created.setdefault(kind, []).append(name)
    for kind, plural in KINDS.items():
        names = sorted(set(created.get(kind, ())))
        if len(names) > MOST_INDEXES and kind == "INDEX":
            yield f"Indexes: {len(names)}; the page of each table lists its own"
        elif names:
            linked = (links.to(name) if name in links.places else code(name) for name in names)
            yield f"{plural}: {', '.join(linked)}"
    if changed := sorted(set(ALTERED.findall(statements)).difference(created.get("TABLE", ()))):
        yield f"Changed tables: {', '.join(links.to(name) for name in changed if name in links.places)}"
    if "CREATE POLICY" in statements:
        yield f"Privileges and row security: [roles]({links.path('roles.md')})"


def command_line(links: Links) -> str:
    """Return the page of the command line."""
    group: Any = typer.main.get_command(app)
    database = [each for each in group.commands["upgrade"].params if each.name in DATABASE_OPTIONS]
    return join(
        "# Command line",
        group.help,
        fence("text", "honua-schema [OPTIONS] COMMAND ..."),
        _parameters(links, group, ()),
        section(
            "Options that name the database",
            f"Commands whose usage has `[DATABASE]` take these. {links.prose(group.epilog)}",
            _table_of_options(links, database),
        ),
        section(
            "Exit codes",
            table(
                ("Code", "Meaning"),
                (
                    ("0", "good"),
                    (str(FAILED), "failed"),
                    (str(USAGE), "called wrongly"),
                    (str(PENDING_OR_DRIFTED), "a revision is pending, or the schema is not as declared"),
                ),
            ),
        ),
        *_commands(links, group, "honua-schema"),
    )


def _commands(links: Links, group: Any, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        full = f"{path} {name}"
        if hasattr(command, "commands"):
            yield from _commands(links, command, full)
            continue
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        takes_database = any(each.name in {"host", "port"} for each in command.params)
        usage = [full, "[OPTIONS]"] + ["[DATABASE]"] * takes_database
        usage += [f"{each.name.upper()}" if each.required else f"[{each.name.upper()}]" for each in arguments]
        example = (command.epilog or "").removeprefix("Example: ")
        yield section(
            full,
            links.prose(" ".join((command.help or "").split())),
            fence("text", " ".join(usage)),
            _parameters(links, command, tuple(DATABASE_OPTIONS) if takes_database else ()),
            f"Example: {code(example)}" if example else "",
        )


def _parameters(links: Links, command: Any, without: tuple[str, ...]) -> str:
    own = [each for each in command.params if each.name not in without and not each.hidden]
    arguments = [each for each in own if each.param_type_name == "argument"]
    rows = [(code(each.name.upper()), _default(each), links.prose(each.help or "")) for each in arguments]
    return join(
        table(("Argument", "Default", "Meaning"), rows),
        _table_of_options(links, [each for each in own if each.param_type_name == "option"]),
    )


def _table_of_options(links: Links, options: Iterable[Any]) -> str:
    return table(
        ("Option", "Default", "Environment", "Meaning"),
        [
            (
                codes(sorted(each.opts, key=len)) + ("" if each.is_flag else f" {code(_value(each))}"),
                _default(each),
                code(str(each.envvar)) if each.envvar else "",
                links.prose(each.help or ""),
            )
            for each in options
        ],
    )


def _value(option: Any) -> str:
    return option.metavar or str(option.name).upper()


def _default(parameter: Any) -> str:
    if isinstance(parameter.show_default, str):
        return code(parameter.show_default)
    return "" if parameter.default in (None, False) else code(str(parameter.default))


def index(schema: Schema, links: Links) -> str:
    """Return the page that leads to all others."""

    def entries(objects: Iterable[Any], *, call: bool = False) -> str:
        name = links.call if call else links.to
        return bullets(f"{name(each.name)}: {_first_sentence(links, each.comment)}" for each in objects)

    pages = [
        ("Diagrams", "diagrams.md", "the tables and how they refer to each other"),
        ("Views", "views.md", "what can be asked for without a query of one's own"),
        ("Triggers", "triggers.md", "what happens by itself"),
        *([("Types", "types.md", "types of columns that bring rules")] if schema.types else []),
        ("Roles", "roles.md", "who may do what"),
        ("Revisions", "revisions.md", "what each revision installs"),
        ("Command line", "command-line.md", "`honua-schema` and its commands"),
        ("Performance", "performance.md", "the queue and the counters beside other systems, as measured"),
    ]
    return join(
        "# Reference",
        f"The {len(schema.tables)} tables and everything around them, as a database at head has them. These"
        " pages are generated: `make reference` writes them anew, and a test fails when one is stale.",
        bullets(f"[{title}]({page}): {about}" for title, page, about in pages),
        *(
            section(
                f"Domain {domain}",
                "Tables:",
                entries(each for each in schema.tables.values() if each.domain == domain),
                _views_of(schema, entries, domain),
                f"[Functions](functions/{domain}.md), besides those of triggers:",
                entries(
                    (
                        each
                        for each in schema.functions.values()
                        if each.domain == domain and not each.is_trigger
                    ),
                    call=True,
                ),
            )
            for domain in DOMAINS
        ),
    )


def _views_of(schema: Schema, entries: Any, domain: str) -> str:
    listed = entries(each for each in schema.views.values() if each.domain == domain)
    return join("Views:", listed) if listed else ""


def _first_sentence(links: Links, comment: str) -> str:
    sentence = re.split(r"(?<=\w)[.:;] ", comment)[0].rstrip(".")
    return links.prose(sentence)
