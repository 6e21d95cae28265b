"""The words of the demo: the product's modules and clouds, names, log lines and what people say."""

from __future__ import annotations

MODULES_BY_TIER: dict[str, tuple[str, ...]] = {
    "core": (
        "ogc-api",
        "wms",
        "wfs",
        "wmts",
        "vector-tiles",
        "geopackage",
        "postgis",
        "geojson",
    ),
    "pro": ("stac", "raster-tiles", "geoservices-rest", "cloud-optimized-geotiff", "oauth", "metrics"),
    "enterprise": ("saml", "sensor-things", "change-feed", "oracle-spatial", "sql-server", "audit"),
    "asp": ("multi-tenant", "usage-billing", "white-label", "edge-cache"),
}
"""The modules of the product, by the lowest tier that may use them."""

COMPUTE: dict[tuple[str, str], tuple[str, ...]] = {
    ("aws", "amd64"): ("c7i", "m7i", "c7a"),
    ("aws", "arm64"): ("graviton3", "graviton4"),
    ("azure", "amd64"): ("dsv5", "fsv2"),
    ("azure", "arm64"): ("cobalt100", "ampere-altra"),
    ("gcp", "amd64"): ("c3", "n2d"),
    ("gcp", "arm64"): ("axion", "tau-t2a"),
    ("kubernetes", "amd64"): ("generic-x86-64-v3",),
    ("kubernetes", "arm64"): ("generic-armv8.2",),
}
"""Compute families that an image is tuned for, by cloud and architecture."""

REGIONS: dict[str, tuple[str, ...]] = {
    "aws": ("us-east-1", "us-west-2", "eu-central-1", "ap-southeast-2"),
    "azure": ("eastus2", "westeurope", "australiaeast"),
    "gcp": ("us-central1", "europe-west4", "asia-northeast1"),
    "kubernetes": ("on-premises",),
}

PLACES = (
    "harbor",
    "coast",
    "glacier",
    "river",
    "valley",
    "forest",
    "reef",
    "delta",
    "plateau",
    "island",
    "basin",
    "ridge",
    "canyon",
    "meadow",
    "lagoon",
    "summit",
)
THEMES = (
    "survey",
    "basemap",
    "parcels",
    "bathymetry",
    "imagery",
    "hydrology",
    "transit",
    "zoning",
    "utilities",
    "flood-risk",
    "land-cover",
    "addresses",
)
ORGANIZATIONS = (
    "Geospatial",
    "Mapping",
    "Water Authority",
    "Planning Office",
    "Logistics",
    "Energy",
    "Surveys",
)
GIVEN_NAMES = (
    "Aiko",
    "Amara",
    "Beatriz",
    "Chen",
    "Dario",
    "Elif",
    "Freya",
    "Ines",
    "Jonas",
    "Kofi",
    "Leilani",
    "Maja",
)
FAMILY_NAMES = (
    "Alvarez",
    "Bauer",
    "Costa",
    "Dubois",
    "Eriksen",
    "Fontaine",
    "Haddad",
    "Kahale",
    "Lindqvist",
    "Okafor",
)

USER_AGENTS = (
    "containerd/1.7.27",
    "docker/28.3.2 go/go1.24.4 os/linux",
    "kubelet/v1.33.1",
    "honua-deployer/2.4.0",
    "podman/5.5.1",
)
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:141.0) Gecko/20100101 Firefox/141.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/138.0.0.0 Safari/537.36",
    "honua-console/1.9.0",
)
LOCALES = ("en-US", "en-US", "en-US", "en-GB", "de-DE", "fr-FR", "ja-JP", "pt-BR")
MODELS = (("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4"))

BUILD_STEPS = (
    "resolve modules",
    "restore packages",
    "compile",
    "link native libraries",
    "run tests",
    "assemble image",
    "scan image",
)
FAILURES = (
    ("COMPILE_ERROR", "The module {module} does not compile for {compute}"),
    ("TEST_FAILURE", "3 of 412 tests failed in {module}"),
    ("OUT_OF_MEMORY", "The linker was killed: out of memory"),
    ("REGISTRY_UNAVAILABLE", "The base image could not be pulled: 503 Service Unavailable"),
    ("DEPENDENCY_NOT_FOUND", "The package honua-{module} was not found for {compute}"),
)
METRICS = (
    ("cpu_percent", "percent", 260.0, 0.5),
    ("memory", "MB", 2200.0, 0.4),
    ("disk_written", "MB", 900.0, 0.7),
    ("network_received", "MB", 340.0, 0.8),
    ("layer_cache_hits", "percent", 61.0, 0.3),
    ("image_size", "MB", 310.0, 0.4),
)
"""Name, unit, median and spread (sigma of the log-normal distribution) of what a build's worker measures."""

LOG_LINES = (
    "#{number} [{stage} {number}/18] RUN dotnet restore --runtime linux-{architecture} Honua.{module}.csproj",
    "#{number} {seconds:.1f}   Restored /src/modules/{module}/{module}.csproj (in {seconds:.2f} sec).",
    "#{number} sha256:{digest} {size:.2f}MB / {size:.2f}MB {seconds:.1f}s done",
    "#{number} extracting sha256:{digest} {seconds:.1f}s done",
    "#{number} [{stage} {number}/18] COPY --from=build /out/{module} /app/modules/{module}",
    "#{number} CACHED [{stage} {number}/18] WORKDIR /src/{module}",
    "#{number} {seconds:.1f} gcc -O3 -march=native -flto -c {module}/{digest:.8}.c -o {digest:.8}.o",
    "#{number} {seconds:.1f} warning: unused parameter 'extent' in {module}/{digest:.8}.c:{number}",
    "#{number} {seconds:.1f}   Passed! - Failed: 0, Passed: {number}, {seconds:.0f} s - {module}.dll",
    "#{number} exporting layer sha256:{digest} {seconds:.1f}s done",
)

SHORT_MESSAGES = (
    "Yes.",
    "Yes, please.",
    "That looks right.",
    "arm64, please",
    "No, AWS.",
    "How much would that cost?",
    "Can we add STAC later?",
    "Thanks!",
    "What do you recommend?",
    "We have no preference.",
)
USER_SENTENCES = (
    "We need a server for {theme} of the {place} with {module} and {other_module}.",
    "Our team runs everything on {cloud}, mostly {compute} machines in {region}.",
    "About {number} people look at the {theme} layers every day.",
    "The old server takes {seconds:.0f} seconds for a tile, which is far too slow.",
    "Is {module} included in our licence, or do we have to upgrade?",
    "The data sits in a PostGIS database of {number} GB.",
    "It has to be running before the {place} project starts next month.",
    "We tried {module} last year and ran out of memory at {number} MB.",
    "Does {other_module} work together with {module}?",
    "Our security team asks for single sign-on and an audit trail.",
    "The build for {compute} failed again; the log says the package was not found.",
    "Please keep the image small, our {region} link is slow.",
)
ASSISTANT_SENTENCES = (
    "For {theme} at this size I recommend `{module}` together with `{other_module}`.",
    "On {cloud} the {compute} family gives the best price per request for tile rendering.",
    "An image for {compute} in {region} is usually built in about {seconds:.0f} minutes.",
    "There is a cached build with these modules, so you would not have to wait.",
    "`{module}` needs the next tier; everything else is part of your licence.",
    "With {number} users a day, two instances with 4 cores and 8 GB each are enough.",
    "I have noted: cloud {cloud}, compute {compute}, modules {module} and {other_module}.",
    "Shall I add `{other_module}`, so that the {place} layers can be queried by time?",
    "- **{module}** serves the {theme} layers as standard web services.",
    "- **{other_module}** keeps a catalogue of the {place} imagery.",
    "The failed build ran out of memory while linking; raising the limit to {number} MB solves that.",
    "Before I make the manifest, please confirm the region {region} and the processor architecture.",
)
INTENTS = (
    "create_build",
    "ask_price",
    "choose_modules",
    "choose_cloud",
    "report_problem",
    "upgrade_licence",
    "ask_status",
)
FUNCTIONS = ("find_cached_build", "estimate_cost", "list_modules", "validate_manifest")
FEEDBACK = (
    "Quick and to the point.",
    "It understood our set-up at once.",
    "Took a few attempts to get the region right.",
    "The build failed in the end, but the advice was good.",
)
