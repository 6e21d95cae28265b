"""The rows of the demo, table by table, in pieces of any size. No database is needed to make them."""

from __future__ import annotations

import base64
import hashlib
import json
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from heapq import merge
from itertools import count
from typing import TYPE_CHECKING, Any

from honua_schema.demo import vocabulary
from honua_schema.demo.world import (
    BUILD_TIMEOUT,
    LIMITS,
    TIERS,
    Build,
    Conversation,
    Customer,
    Manifest,
    Rhythm,
    Turn,
    World,
    new_uuid,
)
from honua_schema.models import (
    AccessType,
    ArtifactType,
    BuildStatus,
    ConversationStatus,
    DeploymentStatus,
    EventSeverity,
    LicenseStatus,
    ManifestFormat,
    ManifestSource,
    MessageContentType,
    MessageRole,
    RegistryProvider,
    StorageType,
    ValidationStatus,
)

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

Row = tuple[object, ...]

ROOM = 100
"""The numbers that the rows of one build or one conversation have to themselves."""

KEY_ID = "demo"
"""The encryption key that the demo's secrets name. There is none: they are random bytes."""

CENTS_PER_MILLION_TOKENS = (250, 1000)  # of the prompt and of the answer


@dataclass(frozen=True)
class Table:
    """How a table is filled.

    Attributes:
        name: Its name.
        columns: The columns that are filled.
        rows: Makes the rows of a range of things, the second number excluded.
        things: How many things there are: customers, builds, ...
        rows_per_thing: About how many rows each of them has.
        rows_in_a_piece: About how many rows are copied in one transaction.
    """

    name: str
    columns: tuple[str, ...]
    rows: Callable[[int, int], Iterator[Row]]
    things: int
    rows_per_thing: float = 1
    rows_in_a_piece: int = 20_000

    def pieces(self) -> list[tuple[int, int]]:
        """Divide the things into ranges, always the same ones however many processes there are."""
        size = round(self.rows_in_a_piece / self.rows_per_thing)
        return [(first, min(first + size, self.things)) for first in range(0, self.things, size)]


class Generator:
    """Makes the rows of a world.

    Args:
        world: Whose customers, builds and conversations these are.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    @cached_property
    def tables(self) -> dict[str, Table]:
        """The tables by name, each after those that it refers to.

        licenses comes after build_queue: the licence's trigger then decides which of the queued builds may be
        claimed, and customers whose licence has expired keep the builds that they ordered before.
        """
        volume = self.world.volume
        builds, talks = volume.builds, volume.conversations
        lookups = volume.accesses - volume.cache_entries
        tables = (
            Table("customers", CUSTOMER, self.customers, volume.customers),
            Table("registry_credentials", CREDENTIAL, self.credentials, volume.customers, 2.5),
            Table("build_cache_registry", CACHE_ENTRY, self.cache_entries, volume.cache_entries),
            Table("build_queue", BUILD, self.builds, builds),
            Table("licenses", LICENSE, self.licenses, volume.customers),
            Table("build_results", RESULT, self.results, builds, 0.9),
            Table("build_artifacts", ARTIFACT, self.artifacts, builds, 1.9),
            Table("build_events", EVENT, self.events, builds, 10),
            Table("build_metrics", METRIC, self.metrics, builds, 5.4),
            # Each piece updates nearly every cache entry: so they are few.
            Table("build_access_log", ACCESS, self.accesses, lookups, rows_in_a_piece=100_000),
            Table("build_manifests", MANIFEST, self.manifests, talks),
            Table("conversations", CONVERSATION, self.conversations, talks),
            Table("conversation_messages", MESSAGE, self.messages, talks, 10),
            Table("conversation_intents", INTENT, self.intents, talks, 1.5),
            Table("requirement_extractions", EXTRACTION, self.extractions, talks, 2.1),
        )
        return {table.name: table for table in tables}

    def customers(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of customers."""
        for customer in self.world.customers[first:end]:
            random = self.world.random("customers", customer.rank)
            facts = {
                "country": random.choice(("US", "DE", "JP", "BR", "NZ")),
                "seats": random.randint(5, 500),
            }
            tags = random.sample(
                ("pilot", "public-sector", "utilities", "reference", "partner"), random.randint(0, 2)
            )
            changed = customer.until or customer.since
            is_deleted = customer.rank == self.world.volume.customers - 1
            yield (
                new_uuid(random),
                customer.customer_id,
                customer.organization,
                customer.email,
                customer.contact,
                customer.subscription.value,
                customer.tier.value,
                json.dumps(facts),
                tags,
                customer.since,
                changed,
                changed if is_deleted else None,
                customer.rank + 2,  # 1 is the system's own
            )

    def licenses(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of licenses."""
        for customer in self.world.customers[first:end]:
            random = self.world.random("license", customer.rank)
            is_trial = customer.license_status is LicenseStatus.TRIAL
            is_revoked = customer.license_status is LicenseStatus.REVOKED
            highest = TIERS.index(customer.tier)
            features = {
                "ai_intake": True,
                "custom_modules": highest >= 1,
                "priority_builds": highest >= 2,
                "sla_guarantee": highest >= 2,
                "dedicated_cache": highest >= 3,
            }
            yield (
                new_uuid(random),
                customer.customer_id,
                base64.b64encode(random.randbytes(64)).decode(),
                hashlib.sha256(random.randbytes(16)).hexdigest(),
                customer.tier.value,
                customer.license_status.value,
                customer.since,
                customer.license_ends_at + timedelta(days=335 if is_trial else 0),
                customer.license_ends_at if is_trial else None,
                json.dumps(features),
                *LIMITS[customer.tier],
                customer.until if is_revoked else None,
                "billing" if is_revoked else None,
                "Contract cancelled" if is_revoked else None,
                customer.since,
                customer.until or customer.since,
            )

    def credentials(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of registry_credentials."""
        for customer in self.world.customers[first:end]:
            random = self.world.random("credentials", customer.rank)
            for number in range(random.randint(1, 4 if customer.tier != "core" else 3)):
                provider = random.choice(tuple(RegistryProvider))
                is_revoked = number == 3
                is_invalid = number > 0 and random.random() < 0.2
                checked = self.world.anchor - timedelta(days=random.uniform(0, 3), hours=is_revoked * 400)
                yield (
                    credential_id(self.world, customer, number),
                    customer.customer_id,
                    f"{provider}-{number + 1}",
                    f"https://{provider}.{customer.domain}",
                    provider.value,
                    random.randbytes(44),
                    random.randbytes(60),
                    KEY_ID,
                    number == 0,
                    not is_revoked,
                    checked,
                    (ValidationStatus.INVALID if is_invalid else ValidationStatus.VALID).value,
                    "401 Unauthorized" if is_invalid else None,
                    customer.since,
                    checked,
                    checked + timedelta(hours=1) if is_revoked else None,
                )

    def cache_entries(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of build_cache_registry. The triggers of build_access_log keep their counters."""
        for number in range(first, end):
            random = self.world.random("entry details", number)
            build = self.world.build(self.world.maker(number))
            manifest = self.world.manifest(number)
            url, tag = "registry.honua.example/honua/server", f"{manifest.architecture}-{manifest.hash[:12]}"
            made, expires, deleted = self.life_of_entry(number, build)
            yield (
                entry_id(self.world, number),
                manifest.hash,
                manifest.tier.value,
                url.partition("/")[0],
                tag,
                f"{url}:{tag}",
                manifest.modules,
                manifest.architecture.value,
                manifest.cloud.value,
                manifest.compute,
                manifest.mode.value,
                made,
                build.customer.customer_id,
                round(build.duration, 2),
                int(random.lognormvariate(19.5, 0.4)),
                random.randint(8, 30),
                manifest.json,
                expires,
                deleted,
                "replaced by a security update" if deleted else None,
            )

    def life_of_entry(self, number: int, build: Build) -> tuple[datetime, datetime | None, datetime | None]:
        """Return when a cache entry was made, when it expires and when it was deleted.

        Args:
            number: Number of the entry.
            build: The build that made it.
        """
        made = build.ended_at
        if made is None:
            message = f"build {build.number} made an entry without having ended"
            raise ValueError(message)
        expires = made + timedelta(days=120) if number % 10 == 7 else None
        deleted = made + timedelta(days=45) if number % 20 == 13 else None
        return made, expires, deleted if deleted and deleted < self.world.anchor else None

    def builds(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of build_queue. Its triggers and those of licenses say which may be claimed."""
        for number in range(first, end):
            build = self.world.build(number)
            random = self.world.random("build details", number)
            manifest = self.world.manifest(build.manifest_number)
            steps = len(vocabulary.BUILD_STEPS)
            done, heartbeat = 0, None
            if build.status is BuildStatus.SUCCESS:
                done = steps
            elif build.started_at:
                done = random.randint(1, steps - 1)
            if build.started_at:
                heartbeat = (build.ended_at or self.world.anchor) - timedelta(seconds=random.uniform(1, 25))
                heartbeat = max(heartbeat, build.started_at)
            assigned = build.started_at is not None
            is_delayed = build.queued_at > self.world.anchor
            created = self.world.anchor - timedelta(minutes=5) if is_delayed else build.queued_at
            yield (
                build.id,
                build.customer.customer_id,
                f"/manifests/{json.loads(manifest.json)['name']}.json",
                manifest.hash,
                manifest.json,
                build.status.value,
                build.priority,
                build.queued_at,
                build.started_at,
                build.ended_at,
                build.started_at + timedelta(seconds=BUILD_TIMEOUT) if build.started_at else None,
                100 * done // steps,
                vocabulary.BUILD_STEPS[min(done, steps - 1)] if assigned else None,
                steps,
                done,
                worker_id(build) if assigned else None,
                f"{worker_id(build)}.builders.honua.example" if assigned else None,
                build.started_at,
                credential_id(self.world, build.customer, 0) if build.has_target else None,
                manifest.architecture.value,
                json.dumps({"optimize": random.choice(("speed", "size")), "trim": random.random() < 0.5}),
                round(build.duration * random.uniform(0.7, 1.3)),
                BUILD_TIMEOUT,
                512 * random.randint(2, 12),
                random.choice((1, 2, 4, 8)),
                build.retry_count,
                build.started_at - timedelta(seconds=20) if build.retry_count and build.started_at else None,
                created,
                heartbeat or created,
                heartbeat,
                f"order-{build.id.hex[:16]}" if random.random() < 0.3 else None,
            )

    def results(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of build_results, with logs."""
        for number in range(first, end):
            build = self.world.build(number)
            if not build.has_result:
                continue
            random = self.world.random("result", number)
            is_good = build.status is BuildStatus.SUCCESS
            manifest = self.world.manifest(build.manifest_number)
            code, problem = random.choice(vocabulary.FAILURES)
            problem = problem.format(module=random.choice(manifest.modules), compute=manifest.compute)
            layers = random.randint(8, 30)
            cached = random.randint(0, layers)
            is_pushed = is_good and build.has_target
            yield (
                build.result_id,
                build.id,
                is_good,
                0 if is_good else random.choice((1, 2, 137)),
                self._log(random, manifest),
                "" if is_good else f"error: {problem}\n",
                None if is_good else problem,
                None if is_good else code,
                round(build.duration, 2),
                min(int(random.lognormvariate(7.7, 0.4)), 60_000),
                round(min(random.lognormvariate(5.2, 0.4), 999), 2),
                int(random.lognormvariate(7.0, 0.5)),
                layers if is_good else None,
                cached if is_good else None,
                layers - cached if is_good else None,
                int(random.lognormvariate(19.5, 0.4)) if is_good else None,
                f"sha256:{random.randbytes(32).hex()}" if is_good else None,
                [f"{manifest.architecture}-{manifest.hash[:12]}", "latest"] if is_good else None,
                is_pushed,
                round(random.lognormvariate(2.5, 0.6), 2) if is_pushed else None,
                entry_id(self.world, build.entry) if is_good and build.entry is not None else None,
                build.ended_at,
            )

    def _log(self, random: Random, manifest: Manifest) -> str:
        lines = min(int(random.lognormvariate(4.4, 0.7)), 2500) + 1
        return f"#1 building {manifest.hash}\n" + "\n".join(random.choices(self._log_lines, k=lines)) + "\n"

    @cached_property
    def _log_lines(self) -> Sequence[str]:
        random = self.world.random("log lines")
        modules = [module for modules in vocabulary.MODULES_BY_TIER.values() for module in modules]
        return [
            random.choice(vocabulary.LOG_LINES).format(
                number=random.randint(2, 400),
                stage=random.choice(("restore", "build", "test", "final")),
                architecture=random.choice(("x64", "arm64")),
                module=random.choice(modules),
                seconds=random.uniform(0.1, 90),
                size=random.uniform(0.1, 120),
                digest=random.randbytes(32).hex(),
            )
            for _ in range(3000)
        ]

    def artifacts(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of build_artifacts."""
        for number in range(first, end):
            build = self.world.build(number)
            if build.status is not BuildStatus.SUCCESS or build.ended_at is None:
                continue
            random = self.world.random("artifacts", number)
            kinds = [ArtifactType.CONTAINER_IMAGE, ArtifactType.SBOM]
            kinds += [kind for kind in list(ArtifactType)[2:] if random.random() < 0.2]
            for kind in kinds:
                storage, content_type, size = _ARTIFACTS[kind]
                is_image = kind is ArtifactType.CONTAINER_IMAGE
                path = f"{build.customer.customer_id}/{build.id}/{kind}"
                is_kept = is_image or build.number % 20
                yield (
                    new_uuid(random),
                    build.result_id,
                    kind.value,
                    f"{kind}-{build.id.hex[:12]}",
                    storage.value,
                    f"https://{storage}.honua.example/{path}",
                    path,
                    int(random.lognormvariate(size, 0.5)),
                    content_type,
                    random.randbytes(32).hex(),
                    json.dumps({"format": "oci" if is_image else "json", "signed": random.random() < 0.8}),
                    None if is_image else build.ended_at + timedelta(days=90),
                    None if is_kept else build.ended_at + (self.world.anchor - build.ended_at) / 2,
                    build.ended_at,
                )

    def events(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of build_events."""
        for number in range(first, end):
            build = self.world.build(number)
            ids = count(number * ROOM + 1)
            for event_type, at, data, source, severity, message in self._story(build):
                yield next(ids), build.id, event_type, at, json.dumps(data), source, severity.value, message

    def _story(
        self, build: Build
    ) -> Iterator[tuple[str, datetime, dict[str, object], str, EventSeverity, str]]:
        worker, info = worker_id(build), EventSeverity.INFO
        queued_at = min(build.queued_at, self.world.anchor - timedelta(minutes=5))
        yield "build_queued", queued_at, {"priority": build.priority}, "api", info, "The build was queued"
        data: dict[str, object] = {"modules": len(self.world.manifest(build.manifest_number).modules)}
        checked_at = queued_at + timedelta(milliseconds=200)
        yield "manifest_checked", checked_at, data, "api", info, "The manifest can be built"
        if build.started_at:
            attempt = timedelta(seconds=build.duration + 30)
            for retry in range(build.retry_count):
                at = build.started_at - attempt * (build.retry_count - retry)
                data = {"worker_id": worker, "retry_count": retry}
                yield "build_started", at, data, worker, info, "A worker began to build"
                end = at + timedelta(seconds=build.duration)
                yield "build_failed", end, data, worker, EventSeverity.ERROR, "The attempt failed"
                message = f"Attempt {retry + 1} of 4 ended as failed"
                data = {"status": "failed", "retry_count": retry, "worker_id": worker}
                end += timedelta(seconds=10)
                yield "build_retried", end, data, "retry_failed_build", EventSeverity.WARNING, message
            data = {"worker_id": worker, "retry_count": build.retry_count}
            yield "build_started", build.started_at, data, worker, info, "A worker began to build"
            end = build.ended_at or self.world.anchor
            steps = len(vocabulary.BUILD_STEPS) if build.status is BuildStatus.SUCCESS else 3
            for position, step in enumerate(vocabulary.BUILD_STEPS[:steps]):
                at = build.started_at + (end - build.started_at) * (position + 1) / (steps + 1)
                data = {"step": step, "steps_completed": position + 1}
                yield "step_completed", at, data, worker, EventSeverity.DEBUG, f"Done: {step}"
        if build.ended_at:
            event_type, source, severity, message = _ENDINGS[build.status]
            data = {"retry_count": build.retry_count, "duration_seconds": round(build.duration)}
            yield event_type, build.ended_at, data, source or worker, severity, message

    def metrics(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of build_metrics."""
        for number in range(first, end):
            build = self.world.build(number)
            if not build.has_result or build.started_at is None:
                continue
            random = self.world.random("metrics", number)
            ids = count(number * ROOM + 1)
            tags = json.dumps({"worker": worker_id(build), "tier": build.customer.tier})
            for position, (name, unit, median, spread) in enumerate(vocabulary.METRICS):
                at = build.started_at + timedelta(seconds=build.duration * (position + 1) / 7)
                value = min(median * random.lognormvariate(0, spread), 100 if "cache" in name else 100_000)
                yield next(ids), build.id, name, round(value, 2), unit, at, tags

    def accesses(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of build_access_log in order of time: look-ups, and the making of each cache entry.

        Args:
            first: Number of the first look-up.
            end: Number after the last look-up.
        """
        world = self.world
        random = world.random("accesses", first)
        rhythm = Rhythm(world.start, world.anchor, world.volume.growth)
        lookups = world.volume.accesses - world.volume.cache_entries
        times = [rhythm.at((number + random.random()) / lookups) for number in range(first, end)]
        # The entries made in this time belong to this piece, those of before all others to the first one.
        made = [time for time, _ in self._entries_by_age]
        since, until = (bisect_left(made, rhythm.at(at / lookups)) for at in (first, end - 1e-6))
        since, until = 0 if first == 0 else since, len(made) if end == lookups else until
        creations = ((time, entry) for time, entry in self._entries_by_age[since:until])
        ids = count(first + since + 1)
        customers = iter(world.busy_customers(random, end - first))
        entry: int | None
        for at, created in merge(((time, -1) for time in times), creations):
            if created >= 0:
                customer, entry = world.build(world.maker(created)).customer, created
                access_type = AccessType.BUILD_CREATED
            else:
                customer = next(customers)
                if not customer.may_build(at):
                    customer = world.customers[0]
                access_type, entry = self._look_up(random, customer, at)
            is_hit = access_type is AccessType.CACHE_HIT
            size = int(random.lognormvariate(19.3, 0.4)) if is_hit else None
            yield (
                next(ids),
                None if entry is None else self._entry_ids[entry],
                customer.customer_id,
                at,
                access_type.value,
                f"deployment-{customer.rank}-{random.randrange(9)}",
                random.choice(_ALL_REGIONS),
                round(size / 5e7 * random.uniform(0.5, 3), 2) if size else None,
                size,
                random.choice(vocabulary.USER_AGENTS),
                f"10.{customer.rank >> 8}.{customer.rank & 255}.{random.randrange(1, 255)}",
            )

    def _look_up(self, random: Random, customer: Customer, at: datetime) -> tuple[AccessType, int | None]:
        """Ask the cache as find_cached_build() does: for a live entry that the customer's tier admits."""
        available = bisect_left(self._entries_by_age, (at, -1))
        if available == 0 or random.random() < 0.08:
            return AccessType.CACHE_MISS, None
        for _ in range(3):
            entry = self._entries_by_age[self.world.draw_entry(random, available)][1]
            if self._entry_tiers[entry] <= TIERS.index(customer.tier):
                break
        else:
            return AccessType.CACHE_MISS, None
        end = self._entry_ends[entry]
        if end and end <= at:
            return AccessType.CACHE_MISS, entry
        return AccessType.CACHE_HIT, entry

    @cached_property
    def _entries_by_age(self) -> Sequence[tuple[datetime, int]]:
        return sorted((life[0], entry) for entry, life in enumerate(self._lives))

    @cached_property
    def _entry_ends(self) -> Sequence[datetime | None]:
        return [min(filter(None, life[1:]), default=None) for life in self._lives]

    @cached_property
    def _lives(self) -> Sequence[tuple[datetime, datetime | None, datetime | None]]:
        entries = range(self.world.volume.cache_entries)
        return [self.life_of_entry(entry, self.world.build(self.world.maker(entry))) for entry in entries]

    @cached_property
    def _entry_tiers(self) -> Sequence[int]:
        return [
            TIERS.index(self.world.manifest_tier(entry)) for entry in range(self.world.volume.cache_entries)
        ]

    @cached_property
    def _entry_ids(self) -> Sequence[uuid.UUID]:
        return [entry_id(self.world, entry) for entry in range(self.world.volume.cache_entries)]

    def manifests(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of build_manifests."""
        for number in range(first, end):
            random = self.world.random("manifest row", number)
            build = self.world.build(self.world.build_of_manifest(number))
            manifest = self.world.manifest(build.manifest_number)
            conversation = self.world.conversation(number)
            source = ManifestSource.AI_INTAKE
            if not conversation.has_manifest:
                source = random.choice(tuple(ManifestSource)[1:])
            # Not every manifest becomes a build.
            status, is_built = random.choice(_MANIFESTS_NOT_BUILT), number % 8 == 5
            if not is_built:
                status = _MANIFESTS_BUILT.get(build.status, DeploymentStatus.ARCHIVED)
            created = build.queued_at - timedelta(seconds=30)
            is_checked = status is not DeploymentStatus.DRAFT
            is_deployed = status is DeploymentStatus.DEPLOYED
            yield (
                manifest_id(self.world, number),
                build.customer.customer_id,
                manifest.json,
                manifest.hash,
                f"1.{random.randrange(10)}",
                random.choice(tuple(ManifestFormat)).value,
                source.value,
                f"intake-prompt-{random.randint(11, 14)}" if source is ManifestSource.AI_INTAKE else None,
                is_checked,
                None if is_checked else json.dumps([{"path": "$.resources", "message": "not confirmed yet"}]),
                created + timedelta(seconds=5) if is_checked else None,
                "manifest-validator" if is_checked else None,
                status.value,
                build.ended_at if is_deployed else None,
                build.id if is_built else None,
                entry_id(self.world, build.entry) if is_deployed and build.entry is not None else None,
                created,
                (build.ended_at if is_deployed else None) or created,
            )

    def conversations(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of conversations. The triggers of conversation_messages keep their counters."""
        for number in range(first, end):
            conversation = self.world.conversation(number)
            random = self.world.random("conversation details", number)
            provider, model = self._model(conversation)
            begin, last = conversation.turns[0].at, conversation.turns[-1].at
            status = conversation.status
            is_completed = status is ConversationStatus.COMPLETED
            score = random.choices((None, 1, 2, 3, 4, 5), (40, 2, 4, 10, 24, 20))[0] if is_completed else None
            customer = conversation.customer
            wishes = self._wishes(conversation)
            yield (
                conversation.id,
                customer.customer_id if customer else None,
                None if customer else f"visitor{number}@example.org",
                f"session-{random.randbytes(8).hex()}",
                status.value,
                conversation.kind.value,
                model,
                provider,
                manifest_id(self.world, number) if conversation.has_manifest else None,
                json.dumps(wishes),
                round(random.uniform(0.75, 1) if wishes else random.uniform(0.2, 0.8), 2),
                begin,
                last + timedelta(seconds=5) if is_completed else None,
                last + timedelta(hours=24) if status is ConversationStatus.ABANDONED else None,
                self._cost(conversation.turns),
                random.choice(vocabulary.BROWSERS),
                f"198.51.100.{random.randrange(1, 255)}",
                random.choice(("https://honua.example/pricing", "https://docs.honua.example/", None)),
                random.choice(vocabulary.LOCALES),
                score,
                random.choice(vocabulary.FEEDBACK) if score and random.random() < 0.3 else None,
                last + timedelta(minutes=1) if score else None,
                begin,
                last,
            )

    def _model(self, conversation: Conversation) -> tuple[str, str]:
        return vocabulary.MODELS[conversation.number % len(vocabulary.MODELS)]

    def _cost(self, turns: Sequence[Turn]) -> float:
        cents = sum(
            turn.prompt_tokens * CENTS_PER_MILLION_TOKENS[0]
            + turn.completion_tokens * CENTS_PER_MILLION_TOKENS[1]
            for turn in turns
        )
        return round(cents / 100 / 1_000_000, 6)

    def _wishes(self, conversation: Conversation) -> dict[str, Any]:
        """Return the requirements that came out of a conversation."""
        if not conversation.has_manifest:
            return {}
        build = self.world.build(self.world.build_of_manifest(conversation.number))
        manifest = self.world.manifest(build.manifest_number)
        return {
            "modules": manifest.modules,
            "cloud": manifest.cloud,
            "architecture": manifest.architecture,
            "region": manifest.region,
        }

    def messages(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of conversation_messages."""
        for number in range(first, end):
            conversation = self.world.conversation(number)
            random = self.world.random("messages", number)
            for sequence, turn in enumerate(conversation.turns, start=1):
                answers = turn.role is MessageRole.ASSISTANT
                calls = turn.role in {MessageRole.FUNCTION, MessageRole.TOOL}
                content_type = MessageContentType.PLAIN
                if answers or calls:
                    content_type = MessageContentType.MARKDOWN if answers else MessageContentType.JSON
                content = self._text(random, turn)
                yield (
                    number * ROOM + sequence,
                    conversation.id,
                    turn.role.value,
                    json.dumps({"answer": content}) if calls else content,
                    content_type.value,
                    sequence,
                    random.choice(vocabulary.FUNCTIONS) if calls else None,
                    json.dumps({"tier": random.choice(TIERS)}) if calls else None,
                    json.dumps({"found": random.randrange(5)}) if calls else None,
                    turn.prompt_tokens if answers else None,
                    turn.completion_tokens if answers else None,
                    turn.prompt_tokens + turn.completion_tokens if answers else None,
                    self._model(conversation)[1] if answers else None,
                    0.2 if answers else None,
                    "stop" if answers else None,
                    turn.at,
                    int(random.lognormvariate(7.6, 0.5)) if answers else None,
                )

    def _text(self, random: Random, turn: Turn) -> str:
        if turn.role is MessageRole.USER and turn.length < 40:
            return random.choice(vocabulary.SHORT_MESSAGES)
        if turn.length >= 10_000:
            lines = random.choices(self._log_lines, k=turn.length // 60)
            return "The build failed, this is its log:\n" + "\n".join(lines)[: turn.length]
        pool = self._sentences[turn.role is MessageRole.USER]
        return " ".join(random.choices(pool, k=max(1, turn.length // 75)))

    @cached_property
    def _sentences(self) -> tuple[Sequence[str], Sequence[str]]:
        """Sentences of the assistant and of the user."""
        random = self.world.random("sentences")
        modules = [module for modules in vocabulary.MODULES_BY_TIER.values() for module in modules]

        def sentences(templates: Sequence[str]) -> list[str]:
            made = []
            for _ in range(2000):
                module, other_module = random.sample(modules, 2)
                (cloud, _), computes = random.choice(list(vocabulary.COMPUTE.items()))
                made.append(
                    random.choice(templates).format(
                        module=module,
                        other_module=other_module,
                        cloud=cloud,
                        compute=random.choice(computes),
                        region=random.choice(vocabulary.REGIONS[cloud]),
                        place=random.choice(vocabulary.PLACES),
                        theme=random.choice(vocabulary.THEMES),
                        number=random.randint(3, 900) * 10,
                        seconds=random.uniform(2, 40),
                    )
                )
            return made

        return sentences(vocabulary.ASSISTANT_SENTENCES), sentences(vocabulary.USER_SENTENCES)

    def intents(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of conversation_intents."""
        for number in range(first, end):
            conversation = self.world.conversation(number)
            random = self.world.random("intents", number)
            wanted = ["create_build"] if conversation.has_manifest else []
            wanted += random.sample(vocabulary.INTENTS[1:], random.randint(1, 2) - len(wanted))
            for position, intent in enumerate(wanted):
                sequence = min(2 + 2 * position, len(conversation.turns))
                yield (
                    number * ROOM + position + 1,
                    conversation.id,
                    number * ROOM + sequence,
                    intent,
                    round(random.uniform(0.55, 1), 2),
                    json.dumps({"cloud": random.choice(("aws", "azure", "gcp", "kubernetes"))}),
                    random.choice(("ai_classifier", "ai_classifier", "rules")),
                    conversation.turns[sequence - 1].at + timedelta(seconds=1),
                )

    def extractions(self, first: int, end: int) -> Iterator[Row]:
        """Make rows of requirement_extractions."""
        for number in range(first, end):
            conversation = self.world.conversation(number)
            random = self.world.random("extractions", number)
            end_of_talk = conversation.turns[-1].at
            for kind, value in self._wishes(conversation).items():
                is_confirmed = random.random() < 0.8
                is_corrected = random.random() < 0.1
                text = ", ".join(value) if isinstance(value, list) else value
                yield (
                    new_uuid(random),
                    conversation.id,
                    manifest_id(self.world, number),
                    kind,
                    text,
                    json.dumps({kind: value}),
                    number * ROOM + 2,
                    random.choice(("ai_extraction", "ai_extraction", "pattern")),
                    round(random.uniform(0.6, 1), 2),
                    is_confirmed,
                    end_of_talk if is_confirmed else None,
                    "customer" if is_confirmed else None,
                    is_corrected,
                    f"not {text}" if is_corrected else None,
                    end_of_talk if is_corrected else None,
                    conversation.turns[1].at,
                )


def credential_id(world: World, customer: Customer, number: int) -> uuid.UUID:
    """Return the key of a customer's registry credential."""
    return new_uuid(world.random("credential id", customer.rank, number))


def entry_id(world: World, number: int) -> uuid.UUID:
    """Return the key of a cache entry."""
    return new_uuid(world.random("entry id", number))


def manifest_id(world: World, number: int) -> uuid.UUID:
    """Return the key of a row of build_manifests."""
    return new_uuid(world.random("manifest id", number))


def worker_id(build: Build) -> str:
    """Return the name of the worker that has or had a build."""
    return f"worker-{build.worker:03}"


_ALL_REGIONS = tuple(region for regions in vocabulary.REGIONS.values() for region in regions)
_ARTIFACTS = {
    ArtifactType.CONTAINER_IMAGE: (StorageType.REGISTRY, "application/vnd.oci.image.manifest.v1+json", 19.5),
    ArtifactType.SBOM: (StorageType.S3, "application/spdx+json", 12.5),
    ArtifactType.SCAN_REPORT: (StorageType.S3, "application/json", 11.0),
    ArtifactType.BUILD_LOG: (StorageType.AZURE_BLOB, "text/plain", 10.0),
    ArtifactType.TEST_REPORT: (StorageType.GCS, "application/xml", 11.5),
}
_ENDINGS = {
    BuildStatus.SUCCESS: ("build_completed", None, EventSeverity.INFO, "The image is ready"),
    BuildStatus.FAILED: ("build_failed", None, EventSeverity.ERROR, "The build failed"),
    BuildStatus.TIMEOUT: (
        "build_timed_out",
        "handle_build_timeouts",
        EventSeverity.ERROR,
        "The build took too long",
    ),
    BuildStatus.CANCELLED: ("build_cancelled", "cancel_build", EventSeverity.INFO, "Not needed any more"),
}
_MANIFESTS_BUILT = {
    BuildStatus.SUCCESS: DeploymentStatus.DEPLOYED,
    BuildStatus.FAILED: DeploymentStatus.FAILED,
}
_MANIFESTS_NOT_BUILT = (DeploymentStatus.DRAFT, DeploymentStatus.DRAFT, DeploymentStatus.APPROVED)

CUSTOMER = (
    *(
        "id",
        "customer_id",
        "organization_name",
        "contact_email",
        "contact_name",
        "subscription_status",
        "tier",
    ),
    *("metadata", "tags", "created_at", "updated_at", "deleted_at", "customer_number"),
)
LICENSE = (
    *("id", "customer_id", "license_key", "license_key_hash", "tier", "status", "issued_at", "expires_at"),
    *("trial_expires_at", "features", "max_builds_per_month", "max_registries", "max_concurrent_builds"),
    *("revoked_at", "revoked_by", "revoked_reason", "created_at", "updated_at"),
)
CREDENTIAL = (
    *("id", "customer_id", "registry_name", "registry_url", "registry_provider", "username_encrypted"),
    *("password_encrypted", "encryption_key_id", "is_default", "is_active", "last_validated_at"),
    *("validation_status", "validation_error", "created_at", "updated_at", "revoked_at"),
)
CACHE_ENTRY = (
    *(
        "id",
        "manifest_hash",
        "tier",
        "registry_url",
        "image_tag",
        "full_image_url",
        "modules",
        "architecture",
    ),
    *("cloud_provider", "cloud_compute", "deployment_mode", "first_built_at", "first_built_by_customer"),
    *("build_duration_seconds", "image_size_bytes", "image_layers", "manifest_json", "expires_at"),
    *("deleted_at", "deletion_reason"),
)
BUILD = (
    *(
        "id",
        "customer_id",
        "manifest_path",
        "manifest_hash",
        "manifest_json",
        "status",
        "priority",
        "queued_at",
    ),
    *("started_at", "completed_at", "timeout_at", "progress_percent", "current_step", "total_steps"),
    *("steps_completed", "worker_id", "worker_hostname", "worker_assigned_at", "target_registry_id"),
    *("architecture", "build_args", "estimated_duration_seconds", "max_duration_seconds"),
    *("estimated_memory_mb", "estimated_cpu_cores", "retry_count", "last_retry_at", "created_at"),
    *("updated_at", "heartbeat_at", "idempotency_key"),
)
RESULT = (
    *(
        "id",
        "build_queue_id",
        "success",
        "exit_code",
        "stdout_log",
        "stderr_log",
        "error_message",
        "error_code",
    ),
    *("actual_duration_seconds", "peak_memory_mb", "peak_cpu_percent", "disk_usage_mb", "total_layers"),
    *("cache_layers_used", "new_layers_built", "final_image_size_bytes", "image_digest", "image_tags"),
    *("pushed_to_registry", "push_duration_seconds", "build_cache_id", "created_at"),
)
ARTIFACT = (
    *(
        "id",
        "build_result_id",
        "artifact_type",
        "artifact_name",
        "storage_type",
        "storage_url",
        "storage_path",
    ),
    *("size_bytes", "content_type", "checksum_sha256", "metadata", "expires_at", "deleted_at", "created_at"),
)
EVENT = (
    *("id", "build_queue_id", "event_type", "event_timestamp", "event_data", "source", "severity", "message"),
)
METRIC = ("id", "build_queue_id", "metric_name", "metric_value", "metric_unit", "metric_timestamp", "tags")
ACCESS = (
    *(
        "id",
        "build_cache_id",
        "customer_id",
        "accessed_at",
        "access_type",
        "deployment_id",
        "deployment_region",
    ),
    *("pull_duration_seconds", "download_size_bytes", "user_agent", "ip_address"),
)
MANIFEST = (
    *("id", "customer_id", "manifest_json", "manifest_hash", "manifest_version", "manifest_format"),
    *(
        "generated_by",
        "generation_method",
        "is_validated",
        "validation_errors",
        "validated_at",
        "validated_by",
    ),
    *("deployment_status", "deployed_at", "deployment_id", "build_cache_id", "created_at", "updated_at"),
)
CONVERSATION = (
    *("id", "customer_id", "customer_email", "session_id", "status", "conversation_type", "ai_model"),
    *("ai_provider", "build_manifest_id", "extracted_requirements", "confidence_score", "started_at"),
    *("completed_at", "abandoned_at", "total_cost_usd", "user_agent", "ip_address", "referrer", "locale"),
    *("user_satisfaction_score", "user_feedback", "feedback_at", "created_at", "updated_at"),
)
MESSAGE = (
    *("id", "conversation_id", "role", "content", "content_type", "sequence_number", "function_name"),
    *("function_arguments", "function_response", "prompt_tokens", "completion_tokens", "total_tokens"),
    *("model_used", "temperature", "finish_reason", "created_at", "processing_time_ms"),
)
INTENT = (
    *("id", "conversation_id", "message_id", "intent_type", "intent_confidence", "intent_parameters"),
    *("detected_by", "detected_at"),
)
EXTRACTION = (
    *("id", "conversation_id", "build_manifest_id", "requirement_type", "requirement_value"),
    *("requirement_json", "extracted_from_message_id", "extraction_method", "extraction_confidence"),
    *("is_confirmed", "confirmed_at", "confirmation_source", "was_corrected", "corrected_value"),
    *("corrected_at", "created_at"),
)
