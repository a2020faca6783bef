"""Settings of a gateway: from code, from YAML and from `GATEWAY_<SECTION>__<FIELD>` variables.

What decides about messages at run time (rules, roles, limits of single agents) is the policy document;
the values here are its defaults and the gateway's own workings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self, TypeVar
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from mas_core.model import policy
from mas_core.model.priority import LANE_WEIGHTS, LANES
from mas_core.settings.layers import environment_layer, flattened, merged
from mas_core.settings.masking import is_secret, masked
from mas_core.settings.permissions import DlpAction
from mas_core.settings.private_files import write_private
from mas_core.settings.retries import DefaultRetrySettings
from mas_core.settings.secrets import anchored, is_reference
from mas_core.settings.topic_settings import TopicSettings
from mas_core.settings.tracing import TracingSettings
from mas_core.settings.yaml_documents import read_yaml, validated


class Section(BaseModel):
    """A part of the settings; unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


AnySection = TypeVar("AnySection", bound=Section)


class RedisSettings(Section):
    """Where the server is."""

    url: str | None = None
    """URL of the Redis or Valkey server; the embedded one when not given."""
    max_connections: int = Field(default=20, ge=1)
    """How many connections a gateway opens at most."""


class RateLimitSettings(Section):
    """How many messages an agent without a limit of its own may send."""

    per_minute: int = Field(default=100, ge=0)
    """In any sliding minute."""
    per_hour: int = Field(default=1000, ge=0)
    """In any sliding hour."""
    burst: int = Field(default=0, ge=0)
    """In any sliding second; 0 sets no bound of its own."""
    control_per_minute: int = Field(default=1200, ge=1)
    """Messages to the gateway itself that one agent may send: discover, attach, heartbeats and the like."""


class FeatureSettings(Section):
    """Which parts of the policy are on."""

    dlp: bool = True
    """Scan payloads for sensitive data."""
    rbac: bool = True
    """Deny what no rule allows."""
    rate_limit: bool = True
    """Refuse what exceeds a limit."""
    circuit_breaker: bool = False
    """Refuse messages to targets that keep failing."""
    message_signing: bool = False
    """Senders sign each message; receivers and the audit keep the signature."""
    delegation_intersect: bool = False
    """Let what is sent on behalf of others pass only if each of them could send it itself."""
    priority_queue: bool = True
    """Serve messages of higher priority first."""


class DlpSettings(Section):
    """What is looked for in payloads, and what happens then."""

    pack: Path | None = None
    """A rule pack of your own in YAML; relative to the file that names it."""
    actions: dict[str, DlpAction] = {}
    """Rule id or category (pii, phi, pci, secret) to block, redact, alert, off or encrypt:NAME."""
    detectors: list[Literal["presidio"]] = []
    """What looks beside the rules, in processes of their own; slow, and fail closed."""
    detector_timeout_s: float = Field(default=5, gt=0)
    """Seconds that a detector may take for one payload; after that the payload is unscannable."""


class ArchiveSettings(Section):
    """Where closed segments of the audit are copied to."""

    url: str = ""
    """A folder that is there, relative to the file that names it, or a URL that fsspec knows; none when empty."""
    options: dict[str, str] = {}
    """What fsspec takes beside the URL, such as key and secret; secrets stand here as references like env:NAME."""
    every_s: float = Field(default=3600, ge=1)
    """Seconds between two runs that copy segments, and do what the retention in force says."""

    @field_validator("options")
    @classmethod
    def _holds_no_secret(cls, options: dict[str, str]) -> dict[str, str]:
        for name, value in options.items():
            if (is_secret(name) or name.endswith("key")) and not is_reference(value):
                raise ValueError(
                    f"{name}: a secret does not stand here itself\nwrite  env:NAME  or  file:PATH"
                )
        return options

    def relative_to(self, folder: Path) -> Self:
        """The same with a relative folder, and files of secrets, understood from `folder`."""
        options = {name: anchored(value, folder) for name, value in self.options.items()}
        url = self.url if not self.url or "://" in self.url else str(folder / Path(self.url).expanduser())
        return self.model_copy(update={"url": url, "options": options})


class WitnessSettings(Section):
    """A second place for checkpoints: one of folder, command and url."""

    folder: Path | None = None
    """A folder, best on another disk; relative to the file that names it."""
    command: list[str] | None = Field(default=None, min_length=1)
    """A program and its arguments that gets each checkpoint on its standard input."""
    url: str | None = Field(default=None, pattern=r"^https://|^http://(127\.0\.0\.1|localhost)[:/]")
    """An address that each checkpoint is posted to as text/plain."""
    timeout_s: float = Field(default=10, gt=0, le=300)
    """Seconds that it may take for one."""

    @model_validator(mode="after")
    def _is_one_place(self) -> Self:
        if sum(place is not None for place in (self.folder, self.command, self.url)) != 1:
            raise ValueError("a witness is one of folder, command and url")
        return self

    @property
    def name(self) -> str:
        """What to call it where a password would be out of place."""
        if self.folder is not None:
            return f"folder {self.folder}"
        if self.command:
            return f"command {Path(self.command[0]).name}"
        return f"url {urlsplit(self.url or '').hostname}"


class AuditSettings(Section):
    """Where the audit goes beside the server."""

    notary: bool = True
    """Whether `mas up` runs the notary, which signs the audit outside of the server."""
    folder: Path | None = None
    """Where the notary keeps its evidence, relative to the file that names it; .mas/audit when not given."""
    checkpoint_s: float = Field(default=1, ge=0.1, le=60)
    """Seconds after which a record is covered by a signed checkpoint at the latest."""
    checkpoint_records: int = Field(default=256, ge=1)
    """Records after which a checkpoint is signed before that."""
    witnesses: list[WitnessSettings] = []
    """Second places that get every checkpoint."""
    timestamp_url: str | None = Field(default=None, pattern="^https?://")
    """An authority that stamps checkpoints with its time (RFC 3161); needs the extra `timestamp`."""
    timestamp_every_s: float = Field(default=3600, ge=1)
    """Seconds between two stamped checkpoints of a partition."""
    files: list[Path] = []
    """JSON Lines files that each get a copy of every record; several partitions have one each, with its number."""
    max_file_bytes: int = Field(default=100_000_000, ge=1_000_000)
    """Size at which a file gets a number in its name and a new one is started."""
    require: Literal["none", "any", "all"] = "none"
    """How many of the files must have a record on the disk before anything is delivered by it."""
    daily: Path | None = None
    """A folder that gets a folder a day, with a file for each kind of entry; none when not given."""
    daily_keep_days: int = Field(default=0, ge=0)
    """Days after which daily files are removed; 0 for never."""
    archive: ArchiveSettings = ArchiveSettings()
    """Where closed segments are copied to, and how often."""

    def relative_to(self, folder: Path) -> Self:
        """These settings with their relative paths understood from `folder`."""
        anchored = _anchored(_anchored(self, "daily", folder), "folder", folder)
        witnesses = [_anchored(witness, "folder", folder) for witness in self.witnesses]
        archive = self.archive.relative_to(folder)
        files = [folder / path for path in self.files]
        return anchored.model_copy(update={"witnesses": witnesses, "archive": archive, "files": files})


class CircuitBreakerSettings(Section):
    """When a target counts as failing."""

    failure_threshold: int = Field(default=5, ge=1)
    """Failures in a row that open the circuit."""
    failure_rate: float = Field(default=0.5, gt=0, le=1)
    """Share of failures that opens it."""
    success_threshold: int = Field(default=2, ge=1)
    """Successes that close it again."""
    timeout_s: float = Field(default=60, gt=0)
    """Seconds until trial messages are let through."""
    window_s: float = Field(default=60, ge=1)
    """Seconds for which a failure counts."""
    minimum_calls: int = Field(default=10, ge=1)
    """Messages from which on the share counts."""
    trials: int = Field(default=1, ge=1)
    """Trial messages that are on their way at the same time."""
    jitter: float = Field(default=0.2, ge=0, le=1)
    """By which part of itself the time-out is lengthened at most, by chance."""

    def as_breaker_limits(self) -> policy.BreakerLimits:
        """The same, as the policy document has it."""
        return policy.BreakerLimits(
            failures=self.failure_threshold,
            rate=self.failure_rate,
            calls=self.minimum_calls,
            window_ms=int(self.window_s * 1000),
            timeout_ms=max(1, int(self.timeout_s * 1000)),
            jitter=self.jitter,
            trials=self.trials,
            successes=self.success_threshold,
        )


class PriorityQueueSettings(Section):
    """How many messages of each lane are served in one round when all lanes have plenty.

    The lowest lane gets at least its weight's share, 1 in 12 with these.
    """

    high: int = Field(default=LANE_WEIGHTS["high"], ge=1, le=1000)
    """Weight of priorities 7 to 10."""
    normal: int = Field(default=LANE_WEIGHTS["normal"], ge=1, le=1000)
    """Weight of priorities 3 to 6."""
    low: int = Field(default=LANE_WEIGHTS["low"], ge=1, le=1000)
    """Weight of priorities 0 to 2."""


class ScheduleSettings(Section):
    """How many messages that are sent for later may wait at a time; more is back-pressure."""

    per_sender: int = Field(default=1_000, ge=0)
    """Of one sender in each partition."""
    total: int = Field(default=10_000, ge=0, le=100_000)
    """In each partition."""


class MessageSigningSettings(Section):
    """What counts as a fresh signature."""

    max_age_s: float = Field(default=300, gt=0, le=3600)
    """Seconds for which a signed message is accepted after it was signed."""


class GatewaySettings(BaseSettings):
    """All settings of a gateway. Arguments win over the environment, the environment over defaults."""

    model_config = SettingsConfigDict(
        use_attribute_docstrings=True,
        env_prefix="GATEWAY_",
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
    )

    redis: RedisSettings = RedisSettings()
    rate_limit: RateLimitSettings = RateLimitSettings()
    features: FeatureSettings = FeatureSettings()
    dlp: DlpSettings = DlpSettings()
    audit: AuditSettings = AuditSettings()
    circuit_breaker: CircuitBreakerSettings = CircuitBreakerSettings()
    priority_queue: PriorityQueueSettings = PriorityQueueSettings()
    message_signing: MessageSigningSettings = MessageSigningSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    topics: TopicSettings = TopicSettings()
    retry: DefaultRetrySettings = DefaultRetrySettings()
    tracing: TracingSettings = TracingSettings()
    max_payload_bytes: int = Field(default=1_000_000, ge=1024, le=1_000_000)
    """Bytes of a payload as JSON."""
    inbox_bound: int = Field(default=10_000, ge=1)
    """Unsettled messages of one agent; more is back-pressure."""
    message_ttl_s: float = Field(default=3600, gt=0)
    """Time to live of a message that names none."""
    batch_messages: int = Field(default=1000, ge=1, le=1000)
    """Messages in one commit."""
    batch_bytes: int = Field(default=1_000_000, ge=1024, le=1_000_000)
    """Bytes in one commit."""
    lease_ms: int = Field(default=1500, ge=200)
    """How long a gateway owns a partition without renewing."""

    @classmethod
    def from_yaml(cls, path: Path | str) -> Self:
        """The settings in the file at `path`; the environment wins over the file.

        Raises:
            SpecInvalid: The file cannot be used; names line and fix.
        """
        path = Path(path)
        document = read_yaml(path)
        settings = validated(cls, document, merged(document.value, environment_layer(cls)))
        return settings.relative_to(path.parent)

    def relative_to(self, folder: Path) -> Self:
        """These settings with their relative paths understood from `folder`."""
        return self.model_copy(
            update={
                "dlp": _anchored(self.dlp, "pack", folder),
                "audit": self.audit.relative_to(folder),
            }
        )

    def to_yaml(self, path: Path | str) -> None:
        """Write all settings to a private file, since a URL may hold a password."""
        text = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        write_private(Path(path), text.encode())

    def summary(self) -> str:
        """One line a setting, secrets masked."""
        values = flattened(self.model_dump(mode="json"))
        return "\n".join(f"{name} = {masked(name, value)}" for name, value in values)

    @property
    def lane_weights(self) -> dict[str, int]:
        """Lane -> its weight; all alike when `features.priority_queue` is off."""
        weights = self.priority_queue
        if not self.features.priority_queue:
            return dict.fromkeys(LANES, 1)
        return {"high": weights.high, "normal": weights.normal, "low": weights.low}

    @property
    def default_limit(self) -> policy.RateLimit:
        """The limit of agents without one of their own, as the policy document has it."""
        limit = self.rate_limit
        return policy.RateLimit(limit.per_minute, limit.per_hour, limit.burst)

    @property
    def policy_features(self) -> policy.Features:
        """The switches of the stages, as the policy document has them."""
        return policy.Features(
            rbac=self.features.rbac,
            rate_limit=self.features.rate_limit,
            dlp=self.features.dlp,
            message_signing=self.features.message_signing,
            circuit_breaker=self.features.circuit_breaker,
            delegation_intersect=self.features.delegation_intersect,
        )


def _anchored(section: AnySection, field: str, folder: Path) -> AnySection:
    value = getattr(section, field)
    return section if value is None else section.model_copy(update={field: folder / value})
