"""Who the demo's customers are, what they order, and when.

Everything follows from a seed and an instant, and each thing can be made without the others before it:
whoever asks for build 1,000 gets the same build. So the tables can be filled at the same time, in pieces.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING

from honua_schema.demo import vocabulary
from honua_schema.models import (
    Architecture,
    BuildStatus,
    CloudProvider,
    ConversationStatus,
    ConversationType,
    DeploymentMode,
    LicenseStatus,
    MessageRole,
    SubscriptionStatus,
    Tier,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SIX_MONTHS = timedelta(days=182)
LONGEST_BUILD = timedelta(hours=6)  # from being queued to its end, retries included
BUILD_TIMEOUT = 3600  # seconds

HOURLY_LOAD = (1, 1, 1, 1, 1, 2, 4, 7, 11, 13, 13, 12, 11, 12, 13, 13, 12, 10, 8, 6, 4, 3, 2, 2)
WEEKEND_LOAD = 0.3  # of a working day's

TIERS = tuple(Tier)
LIMITS: dict[Tier, tuple[int | None, int | None, int | None]] = {
    Tier.CORE: (100, 3, 1),
    Tier.PRO: (500, 10, 3),
    Tier.ENTERPRISE: (2000, 25, 10),
    Tier.ASP: (None, None, None),
}
"""Builds per month, registries and concurrent builds of each tier's licences."""


@dataclass(frozen=True)
class Volume:
    """How much data there is.

    Attributes:
        customers: Number of customers.
        cache_entries: Number of entries in the build cache; each was made by a build of its own.
        accesses: Number of look-ups in the build cache.
        builds: Number of builds, in every state.
        conversations: Number of conversations; there are as many manifests.
        growth: How the load has grown: with this power of the time. 0 is not at all.
    """

    customers: int
    cache_entries: int
    accesses: int
    builds: int
    conversations: int
    growth: float = 0.5

    @classmethod
    def of_scale(cls, scale: float) -> Volume:
        """Return a multiple of the volume planned for: six months of a hundred customers.

        Args:
            scale: The factor, from 0.01 to 100.
        """
        return cls(
            customers=max(round(100 * scale), SMALL.customers),
            cache_entries=round(10_000 * scale),
            accesses=round(1_000_000 * scale),
            builds=round(50_000 * scale),
            conversations=round(10_000 * scale),
        )


SMALL = Volume(customers=24, cache_entries=40, accesses=2_000, builds=130, conversations=40, growth=5)
"""Enough to see every state, and something in every week."""


class Rhythm:
    """Spreads events over a period: more by day than at night or on weekends, and more each month.

    Args:
        start: Beginning of the period, in UTC.
        end: End of the period, in UTC.
        growth: How the load grows: with this power of the time.
    """

    def __init__(self, start: datetime, end: datetime, growth: float) -> None:
        self._start = start
        hours = math.floor((end - start) / timedelta(hours=1))
        times = [start + timedelta(hours=hour) for hour in range(hours)]
        self._load = [
            HOURLY_LOAD[time.hour]
            * (WEEKEND_LOAD if time.weekday() >= 5 else 1)
            * ((hour + 1) / hours) ** growth
            for hour, time in enumerate(times)
        ]
        self._load_before = list(accumulate(self._load, initial=0.0))

    def at(self, fraction: float) -> datetime:
        """Return the time at which a fraction of all events has happened.

        Args:
            fraction: From 0 to 1, 1 excluded.
        """
        load = fraction * self._load_before[-1]
        hour = min(bisect_right(self._load_before, load), len(self._load)) - 1
        return self._start + timedelta(hours=hour + (load - self._load_before[hour]) / self._load[hour])


@dataclass(frozen=True)
class Customer:
    """A customer with its licence.

    Attributes:
        rank: Place among the customers, from 0; the first is the busiest.
        customer_id: Its business key.
        organization: Its name.
        contact: Name of the person to write to.
        tier: Its tier and its licence's.
        subscription: How far its subscription has come.
        license_status: The state of its licence.
        since: When it became a customer.
        until: When its licence ended or was revoked, if it has.
        license_ends_at: When the licence ends, or would have.
    """

    rank: int
    customer_id: str
    organization: str
    contact: str
    tier: Tier
    subscription: SubscriptionStatus
    license_status: LicenseStatus
    since: datetime
    until: datetime | None
    license_ends_at: datetime

    @property
    def domain(self) -> str:
        """The customer's name on the network."""
        return f"{self.customer_id}.example.com"

    @property
    def email(self) -> str:
        """Address of the contact."""
        return f"{self.contact.lower().replace(' ', '.')}@{self.domain}"

    @property
    def monthly_quota(self) -> int | None:
        """Builds that the licence allows in a month; None is unlimited."""
        return LIMITS[self.tier][0]

    @property
    def max_concurrent_builds(self) -> int | None:
        """Builds that the licence allows at the same time; None is unlimited."""
        return LIMITS[self.tier][2]

    def may_build(self, at: datetime) -> bool:
        """Return whether the customer had a licence at a time."""
        return self.since <= at and (self.until is None or at < self.until)


@dataclass(frozen=True)
class Manifest:
    """What is to be built.

    Attributes:
        tier: The lowest tier that may use it.
        modules: Modules of the product.
        cloud: Where it will run.
        compute: Compute family there.
        region: Region there.
        architecture: Processor architecture.
        mode: How it will run.
        json: The manifest as canonical JSON.
        hash: SHA-256 of that, in hexadecimal.
    """

    tier: Tier
    modules: list[str]
    cloud: CloudProvider
    compute: str
    region: str
    architecture: Architecture
    mode: DeploymentMode
    json: str
    hash: str


@dataclass(frozen=True)
class Build:
    """A build.

    Attributes:
        number: Its number, from 0, in order of time.
        id: Its key.
        result_id: Key of its result, if it has one.
        customer: Who ordered it.
        manifest_number: Number of its manifest.
        entry: Number of the cache entry that it made or used.
        makes_entry: Whether it made that entry.
        status: Where it stands.
        priority: From 1 to 10.
        queued_at: When it was queued.
        started_at: When the last attempt began.
        ended_at: When it ended.
        duration: How long the last attempt took or will take, in seconds.
        retry_count: Number of earlier attempts.
        worker: Number of the worker that has or had it.
        has_target: Whether the image goes to the customer's own registry.
    """

    number: int
    id: uuid.UUID
    result_id: uuid.UUID
    customer: Customer
    manifest_number: int
    entry: int | None
    makes_entry: bool
    status: BuildStatus
    priority: int
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    duration: float
    retry_count: int
    worker: int
    has_target: bool

    @property
    def has_result(self) -> bool:
        """Whether the worker reported an outcome."""
        return self.status in {BuildStatus.SUCCESS, BuildStatus.FAILED}


@dataclass(frozen=True)
class Turn:
    """One message of a conversation, without its text.

    Attributes:
        role: Who speaks.
        at: When.
        length: Length of the text, in characters.
        prompt_tokens: Tokens sent to the model.
        completion_tokens: Tokens that the model answered with.
    """

    role: MessageRole
    at: datetime
    length: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Conversation:
    """A conversation with the intake.

    Attributes:
        number: Its number, from 0.
        id: Its key.
        customer: Who talks; None for somebody who is no customer yet.
        kind: What it is about.
        status: Where it stands.
        has_manifest: Whether the manifest of the same number came of it.
        turns: Its messages.
    """

    number: int
    id: uuid.UUID
    customer: Customer | None
    kind: ConversationType
    status: ConversationStatus
    has_manifest: bool
    turns: list[Turn]


class World:
    """Makes the demo's customers, builds, manifests, cache entries and conversations.

    Args:
        seed: The same seed, anchor and volume make the same world.
        anchor: The instant at which everything stands as it does: six months lie before it. In UTC.
        volume: How much there is.
    """

    def __init__(self, *, seed: int, anchor: datetime, volume: Volume) -> None:
        self.seed = seed
        self.anchor = anchor
        self.volume = volume
        self.start = anchor - SIX_MONTHS
        self.running = max(8, volume.builds // 500)
        self.queued = self.running * 3 // 2
        self.ended = volume.builds - self.running - self.queued
        self.customers = [self._customer(rank) for rank in range(volume.customers)]
        # Zipf with an exponent of 0.8: the busiest of a hundred customers makes an eighth of the traffic.
        self._traffic = list(accumulate((rank + 1) ** -0.8 for rank in range(volume.customers)))

    def random(self, *key: object) -> Random:
        """Return the random numbers of one thing, always the same ones.

        Args:
            key: What they are for.
        """
        return Random(f"{self.seed} {key}")  # noqa: S311 - nothing here is a secret

    def busy_customers(self, random: Random, count: int) -> list[Customer]:
        """Draw customers by how busy they are.

        Args:
            random: Where the random numbers come from.
            count: How many to draw.
        """
        return random.choices(self.customers, cum_weights=self._traffic, k=count)

    def _customer(self, rank: int) -> Customer:
        random = self.random("customer", rank)
        count = self.volume.customers
        revoked, expired, trial = (max(least, round(count * share)) for least, share in _LEFT)
        from_last = count - 1 - rank
        since = self.anchor - timedelta(days=random.uniform(200, 900))
        until = None
        ends_at = self.anchor + timedelta(days=random.uniform(20, 340))
        subscription, status = SubscriptionStatus.ACTIVE, LicenseStatus.ACTIVE
        if from_last < revoked:
            subscription, status = SubscriptionStatus.CANCELLED, LicenseStatus.REVOKED
            until = self.anchor - timedelta(days=random.uniform(5, 60))
        elif from_last < revoked + expired:
            subscription, status = SubscriptionStatus.SUSPENDED, LicenseStatus.EXPIRED
            until = ends_at = self.anchor - timedelta(days=random.uniform(5, 60))
        elif from_last < revoked + expired + trial:
            subscription, status = SubscriptionStatus.TRIAL, LicenseStatus.TRIAL
            since = self.anchor - timedelta(days=random.uniform(4, 20))
            ends_at = since + timedelta(days=30)
        elif rank > count // 3 and random.random() < 0.3:
            since = self.anchor - timedelta(days=random.uniform(30, 180))
        place, trade = random.choice(vocabulary.PLACES), random.choice(vocabulary.ORGANIZATIONS)
        shares = (0.05, 0.20, 0.50)
        tier = TIERS[3 - bisect_right([math.ceil(count * share) for share in shares], rank)]
        return Customer(
            rank=rank,
            customer_id=f"customer-{101 + (rank + 17) % count}",
            organization=f"{place.title()} {trade}",
            contact=f"{random.choice(vocabulary.GIVEN_NAMES)} {random.choice(vocabulary.FAMILY_NAMES)}",
            tier=tier if until is None else random.choice(TIERS[:3]),
            subscription=subscription,
            license_status=status,
            since=since,
            until=until,
            license_ends_at=ends_at,
        )

    @cached_property
    def _orders(self) -> tuple[Sequence[float], Sequence[int]]:
        """When each build was queued (seconds since 1970), and the rank of the customer who ordered it.

        Made for all builds in one go: no customer may exceed its monthly quota or its concurrent builds.
        """
        random = self.random("orders")
        rhythm = Rhythm(self.start, self.anchor - LONGEST_BUILD, self.volume.growth)
        in_month: Counter[tuple[int, int, int]] = Counter()
        concurrent: Counter[int] = Counter()
        times, ranks = array("d"), array("H")
        for number in range(self.volume.builds):
            if number < self.ended:
                at = rhythm.at((number + random.random()) / self.ended)
            elif number < self.ended + self.running:
                at = self.anchor - timedelta(seconds=random.uniform(300, 3000))
            elif number % 6:
                at = self.anchor - timedelta(seconds=random.uniform(10, 1800))
            else:
                at = self.anchor + timedelta(minutes=random.uniform(10, 120))
            is_running = self.ended <= number < self.ended + self.running
            candidates = self.busy_customers(random, 40)
            if number >= self.ended + self.running and number % 2:
                candidates[0] = self.customers[ranks[number - self.running]]
            for customer in (*candidates, self.customers[0]):
                month = (customer.rank, at.year, at.month)
                if (
                    customer.may_build(at)
                    and (customer.monthly_quota is None or in_month[month] < customer.monthly_quota)
                    and not (
                        is_running
                        and customer.max_concurrent_builds is not None
                        and concurrent[customer.rank] >= customer.max_concurrent_builds
                    )
                ):
                    break
            in_month[month] += 1
            concurrent[customer.rank] += is_running
            times.append(at.timestamp())
            ranks.append(customer.rank)
        return times, ranks

    def maker(self, entry: int) -> int:
        """Return the number of the build that made a cache entry.

        Args:
            entry: Number of the entry, from 0, in order of time.
        """
        return entry * self.ended // self.volume.cache_entries

    def entries_before(self, build: int) -> int:
        """Return how many cache entries the builds before one have made.

        Args:
            build: Number of the build.
        """
        return min(-(-build * self.volume.cache_entries // self.ended), self.volume.cache_entries)

    def manifest_tier(self, number: int) -> Tier:
        """Return the lowest tier that may use a manifest.

        Args:
            number: Number of the manifest: a cache entry's, or from there on a build's own.
        """
        return self._manifest_tier(number, self.random("manifest", number))

    def _manifest_tier(self, number: int, random: Random) -> Tier:
        own = number - self.volume.cache_entries
        orderer = self.customers[self._orders[1][own if own >= 0 else self.maker(number)]]
        highest = TIERS.index(orderer.tier) + 1
        return random.choices(TIERS[:highest], (60, 25, 10, 5)[:highest])[0]

    def manifest(self, number: int) -> Manifest:
        """Make a manifest.

        Args:
            number: Number of the manifest: a cache entry's, or from there on a build's own.
        """
        random = self.random("manifest", number)
        tier = self._manifest_tier(number, random)
        modules = random.sample(vocabulary.MODULES_BY_TIER["core"], random.randint(2, 5))
        for lower in TIERS[1 : TIERS.index(tier) + 1]:
            choices = vocabulary.MODULES_BY_TIER[lower]
            modules += random.sample(choices, random.randint(1 if lower is tier else 0, 3))
        cloud = random.choices(tuple(CloudProvider), (5, 3, 2, 2))[0]
        architecture = random.choices(tuple(Architecture), (3, 2))[0]
        compute = random.choice(vocabulary.COMPUTE[cloud, architecture])
        region = random.choice(vocabulary.REGIONS[cloud])
        mode = random.choices(tuple(DeploymentMode), (6, 3, 1))[0]
        cores = 2 ** random.randint(1, 5)
        content = {
            "name": f"{random.choice(vocabulary.PLACES)}-{random.choice(vocabulary.THEMES)}-{number + 1}",
            "modules": sorted(modules),
            "cloud": cloud,
            "compute": compute,
            "region": region,
            "architecture": architecture,
            "deployment": mode,
            "resources": {"cpu": cores, "memory_gb": cores * random.choice((2, 4, 8))},
            "database": {"engine": "postgis", "version": random.choice(("15", "16", "17"))},
            "settings": {
                "tile_cache_mb": 128 * random.randint(1, 32),
                "workers": cores * 2,
                "max_features": 1000 * random.randint(1, 50),
                "tile_matrix_sets": random.sample(("WebMercatorQuad", "WorldCRS84Quad", "EuropeanETRS89"), 2),
            },
        }
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        return Manifest(tier, modules, cloud, compute, region, architecture, mode, canonical, digest)

    def draw_entry(self, random: Random, available: int) -> int:
        """Draw a cache entry by its popularity (Zipf: the n-th oldest is used 1/n as often as the oldest).

        Args:
            random: Where the random numbers come from.
            available: How many entries there are; at least one.
        """
        return min(int((available + 1) ** random.random()), available) - 1

    def build(self, number: int) -> Build:
        """Make a build.

        Args:
            number: Number of the build.
        """
        random = self.random("build", number)
        times, ranks = self._orders
        customer = self.customers[ranks[number]]
        queued_at = datetime.fromtimestamp(times[number], UTC)
        id_, result_id = new_uuid(random), new_uuid(random)
        entry, makes_entry = self._entry_of_build(number, customer, random)
        duration = min(random.lognormvariate(math.log(260), 0.6), BUILD_TIMEOUT - 60)
        wait = random.expovariate(1 / 40) + 1
        retry_count = random.choices((0, 1, 2, 3), (93, 5, 1, 1))[0]
        started_at, ended_at = None, None
        if number >= self.ended + self.running:
            status, retry_count = BuildStatus.QUEUED, 0
        elif number >= self.ended:
            status, retry_count = BuildStatus.BUILDING, 0
            started_at = queued_at + timedelta(seconds=min(wait, 200))
        else:
            status = BuildStatus.SUCCESS
            if not makes_entry:
                status = random.choices(_ENDS, (74, 14, 6, 6))[0]
            if status is BuildStatus.FAILED:
                duration *= random.uniform(0.1, 0.9)
            elif status is BuildStatus.TIMEOUT:
                duration = BUILD_TIMEOUT
            elif status is BuildStatus.CANCELLED:
                duration *= random.uniform(0.0, 0.5)
            if status is not BuildStatus.CANCELLED or random.random() < 0.5:
                started_at = queued_at + timedelta(seconds=min(wait, 600) + retry_count * (duration + 30))
            else:
                retry_count = 0
            ended_at = (started_at or queued_at) + timedelta(seconds=duration)
        return Build(
            number=number,
            id=id_,
            result_id=result_id,
            customer=customer,
            manifest_number=self.volume.cache_entries + number if entry is None else entry,
            entry=entry,
            makes_entry=makes_entry,
            status=status,
            priority=min(10, 3 + 2 * TIERS.index(customer.tier) + random.randint(0, 2)),
            queued_at=queued_at,
            started_at=started_at,
            ended_at=ended_at,
            duration=duration,
            retry_count=retry_count,
            worker=random.randint(1, 12),
            has_target=random.random() < 0.7,
        )

    def _entry_of_build(self, number: int, customer: Customer, random: Random) -> tuple[int | None, bool]:
        """Return the cache entry of a build, and whether the build made it."""
        before = self.entries_before(number)
        if number < self.ended and before < self.volume.cache_entries and self.maker(before) == number:
            return before, True
        # Entries whose own builds have certainly ended.
        since = self._orders[0][number] - LONGEST_BUILD.total_seconds()
        available = self.entries_before(bisect_left(self._orders[0], since, hi=min(number, self.ended)))
        for _ in range(6 if available else 0):
            entry = self.draw_entry(random, available)
            if TIERS.index(self.manifest_tier(entry)) <= TIERS.index(customer.tier):
                return entry, False
        return None, False

    def conversation(self, number: int) -> Conversation:
        """Make a conversation.

        Args:
            number: Number of the conversation.
        """
        random = self.random("conversation", number)
        count = self.volume.conversations
        kind = random.choices(tuple(ConversationType), (75, 8, 12, 5))[0]
        build = self.build(self.build_of_manifest(number))
        active = max(4, count // 500)
        if number >= count - active:
            status = ConversationStatus.ACTIVE
        else:
            status = random.choices(_CONVERSATION_ENDS, (70, 26, 4))[0]
        has_manifest = status is ConversationStatus.COMPLETED and kind is ConversationType.BUILD_INTAKE
        length = 3 + min(int(random.expovariate(1 / 7.5)), 90)
        pauses = [random.lognormvariate(math.log(30), 0.9) for _ in range(length)]
        # The manifest is ready a minute before its build is queued; an active conversation goes on now.
        end = build.queued_at - timedelta(minutes=1)
        if status is ConversationStatus.ACTIVE:
            end = self.anchor - timedelta(minutes=random.uniform(0.2, 30))
        at = end - timedelta(seconds=sum(pauses))
        turns = []
        tokens = 0
        for position, pause in enumerate(pauses):
            at += timedelta(seconds=pause)
            turn = self._turn(random, position, at, tokens)
            tokens += turn.length // 4
            turns.append(turn)
        return Conversation(
            number=number,
            id=new_uuid(random),
            customer=build.customer if has_manifest or random.random() < 0.8 else None,
            kind=kind,
            status=status,
            has_manifest=has_manifest,
            turns=turns,
        )

    def _turn(self, random: Random, position: int, at: datetime, tokens: int) -> Turn:
        if position == 0:
            role, length = MessageRole.SYSTEM, 600
        elif position % 2:
            role = MessageRole.USER
            length = min(int(random.lognormvariate(math.log(90), 1.1)), 4000)
            if random.random() < 0.002:  # a log or a data sheet is pasted
                length = random.randint(10_000, 50_000)
        else:
            role = random.choices(_ANSWERS, (86, 6, 8))[0]
            length = int(random.lognormvariate(math.log(1200), 0.8))
        answers = role is MessageRole.ASSISTANT
        return Turn(
            role,
            at,
            length,
            prompt_tokens=tokens if answers else 0,
            completion_tokens=length // 4 if answers else 0,
        )

    def build_of_manifest(self, number: int) -> int:
        """Return the number of the build that a manifest was queued as.

        Args:
            number: Number of the manifest, from 0.
        """
        return number * self.ended // self.volume.conversations


_LEFT = ((1, 0.03), (1, 0.05), (2, 0.08))  # customers revoked, expired and on trial: at least, and the share
_ENDS = (BuildStatus.SUCCESS, BuildStatus.FAILED, BuildStatus.TIMEOUT, BuildStatus.CANCELLED)
_CONVERSATION_ENDS = (ConversationStatus.COMPLETED, ConversationStatus.ABANDONED, ConversationStatus.ERROR)
_ANSWERS = (MessageRole.ASSISTANT, MessageRole.FUNCTION, MessageRole.TOOL)


def new_uuid(random: Random) -> uuid.UUID:
    """Return a random UUID (version 4).

    Args:
        random: Where the random numbers come from.
    """
    return uuid.UUID(int=random.getrandbits(128), version=4)
