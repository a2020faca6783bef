"""Every error that `mas_core` raises on purpose.

    MasError                     code, message, hint, details, retryable
    ├─ UsageError                the caller asked wrongly
    │  ├─ InvalidPayload
    │  │  └─ EventInvalid
    │  ├─ FilterInvalid          line, column
    │  ├─ InvalidIdentifier
    │  ├─ UnknownFormat
    │  └─ NotStarted             also a RuntimeError
    ├─ ConfigurationError        files or environment are wrong
    │  ├─ RecordingInvalid
    │  ├─ SpecInvalid            path, line
    │  ├─ ContextNotFound
    │  ├─ ProjectNotFound
    │  ├─ ProfileUnmet           profile
    │  └─ SecretUnavailable
    ├─ NotFound
    │  ├─ AgentNotFound
    │  ├─ MessageNotFound
    │  ├─ RevisionNotFound
    │  ├─ RouteNotFound
    │  ├─ RoleNotFound
    │  ├─ RuleNotFound
    │  ├─ OperatorNotFound
    │  ├─ ApprovalNotFound
    │  ├─ ScheduleNotFound
    │  ├─ DeadLetterNotFound
    │  ├─ GatewayNotFound
    │  ├─ ResourceNotFound       resource
    │  └─ KeyNotFound
    ├─ Conflict
    │  ├─ AlreadyRegistered
    │  ├─ RoleExists
    │  ├─ AlreadyDecided         by, approved
    │  ├─ AlreadyOrdered
    │  ├─ StateChanged           expected, found
    │  ├─ LeadershipLost         group, term
    │  └─ LockHeld               owner
    ├─ Refused                   the gateway said no; also a RuntimeError
    │  ├─ Unauthenticated
    │  │  ├─ TokenInvalid
    │  │  ├─ TokenExpired
    │  │  ├─ TokenRevoked
    │  │  ├─ CertificateRefused  reason
    │  │  └─ OperatorUnknown
    │  ├─ Forbidden              sender, target, action
    │  │  └─ RoleForbidden       operator, role, permission
    │  ├─ RateLimited            limit, window, retry_after
    │  ├─ PayloadBlocked         findings: kinds and places, never the text
    │  ├─ Unscannable
    │  ├─ SignatureInvalid
    │  ├─ ReplayDetected
    │  ├─ MessageExpired
    │  ├─ Backpressure
    │  ├─ StoreFull
    │  ├─ AuditUnavailable
    │  ├─ Quarantined
    │  └─ CircuitOpen            target, retry_after
    ├─ AgentFailed               the agent answered with an error
    │  ├─ CoordinationRefused    resource, agent_code
    │  ├─ TaskFailed             task, error_type, worker
    │  └─ StateInvalid           revision
    ├─ Unreachable
    │  ├─ StoreUnreachable       url without its secret
    │  │  └─ ReplicasBehind
    │  ├─ GatewayDown
    │  ├─ ArchiveUnavailable     url, file
    │  ├─ EventStoreUnavailable  url without its secret
    │  ├─ SinkUnavailable        path
    │  │  └─ SinkBehind          last_seq
    │  └─ NoResponder            target; also a RuntimeError
    ├─ TimedOut                  also a TimeoutError
    │  ├─ RequestTimedOut        target, seconds
    │  ├─ HandlerTimedOut        seconds
    │  └─ DeadlineExceeded
    ├─ IntegrityError
    │  ├─ ChainBroken            sequence
    │  ├─ LogDiscontinued        partition, sequence, kind
    │  ├─ EvidenceDamaged        path
    │  ├─ NoteInvalid
    │  ├─ ProofInvalid
    │  ├─ IndexDamaged           path
    │  ├─ BackupInvalid          path
    │  └─ DecryptionFailed
    └─ InternalError             a bug of ours
       └─ StoreForbidden         the user of the server lacks a right

The docstring of a class is its message when none is given, so it speaks to the person who reads it.
Fields carry the facts; `hint` holds commands that can be typed as they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class MasError(Exception):
    """Something went wrong in mas.

    Args:
        message: What happened and why, in one sentence; the class docstring when left out.
        hint: Commands or short advice, one per line, that lead on from here; shown below a traceback too.
        details: Facts for programs; JSON-serialisable.
    """

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str = "", *, hint: Sequence[str] | str = (), **details: object) -> None:
        self.message = message or (self.__doc__ or "").strip().splitlines()[0]
        self.hint: tuple[str, ...] = (hint,) if isinstance(hint, str) else tuple(hint)
        self.details: dict[str, object] = details
        super().__init__(self.message)
        for line in self.hint:
            self.add_note(f"try: {line}")


class UsageError(MasError):
    """The call does not make sense as it was made."""

    code = "usage"


class InvalidPayload(UsageError):
    """The payload is not what the message type expects."""

    code = "invalid_payload"


class EventInvalid(InvalidPayload):
    """This cannot be an event."""

    code = "event_invalid"


class FilterInvalid(UsageError):
    """The filter cannot be understood."""

    code = "filter_invalid"


class InvalidIdentifier(UsageError):
    """The identifier has characters or a length that are not allowed."""

    code = "invalid_identifier"


class UnknownFormat(UsageError):
    """This output format is not known."""

    code = "unknown_format"


class NotStarted(UsageError, RuntimeError):
    """The agent is not started: use `async with agent:` or `await agent.start()` first."""

    code = "not_started"


class ConfigurationError(MasError):
    """A file or an environment variable holds something that cannot be used."""

    code = "configuration"


class RecordingInvalid(ConfigurationError):
    """A file is no recording that can be played."""

    code = "recording_invalid"


class SpecInvalid(ConfigurationError):
    """An agent spec cannot be used."""

    code = "spec_invalid"

    def __init__(
        self,
        message: str = "",
        *,
        path: str = "",
        line: int = 0,
        hint: Sequence[str] | str = (),
        **details: object,
    ) -> None:
        self.path = path
        self.line = line
        where = f"{path}:{line}: " if line else f"{path}: " if path else ""
        super().__init__(
            where + (message or "an agent spec cannot be used"), hint=hint, path=path, line=line, **details
        )


class ContextNotFound(ConfigurationError):
    """There is no context of this name."""

    code = "context_not_found"


class ProjectNotFound(ConfigurationError):
    """No mas.yaml here or in any folder above, and no server was named."""

    code = "project_not_found"


class ProfileUnmet(ConfigurationError):
    """The server is not set up for what the durability profile promises."""

    code = "profile_unmet"


class SecretUnavailable(ConfigurationError):
    """A token or key that this needs is not at hand."""

    code = "secret_unavailable"


class NotFound(MasError):
    """There is no such thing."""

    code = "not_found"


class AgentNotFound(NotFound):
    """Agent not found."""

    code = "agent_not_found"


class MessageNotFound(NotFound):
    """There is no message with this id."""

    code = "message_not_found"


class RevisionNotFound(NotFound):
    """The policy has no such revision."""

    code = "revision_not_found"


class RouteNotFound(NotFound):
    """No routing rule speaks of the message."""

    code = "route_not_found"


class RoleNotFound(NotFound):
    """The policy has no role of this name."""

    code = "role_not_found"


class OperatorNotFound(NotFound):
    """There is no operator of this name."""

    code = "operator_not_found"


class RuleNotFound(NotFound):
    """There is no rule with this id."""

    code = "rule_not_found"


class ApprovalNotFound(NotFound):
    """No message waits for this approval."""

    code = "approval_not_found"


class ResourceNotFound(NotFound):
    """There is no such vote, task or group, or not any more."""

    code = "resource_not_found"


class ScheduleNotFound(NotFound):
    """There is no such scheduled message."""

    code = "schedule_not_found"


class DeadLetterNotFound(NotFound):
    """There is no such dead letter."""

    code = "dead_letter_not_found"


class GatewayNotFound(NotFound):
    """No gateway of this name runs, or none on this host."""

    code = "gateway_not_found"


class KeyNotFound(NotFound):
    """There is no such key."""

    code = "key_not_found"


class Conflict(MasError):
    """Something else changed it first, or it exists already."""

    code = "conflict"


class AlreadyRegistered(Conflict):
    """An agent with this id is registered already."""

    code = "already_registered"


class RoleExists(Conflict):
    """The policy has a role of this name already."""

    code = "role_exists"


class AlreadyDecided(Conflict):
    """Somebody else decided about this message first."""

    code = "already_decided"


class AlreadyOrdered(Conflict):
    """Somebody else has ordered something about it already."""

    code = "already_ordered"


class StateChanged(Conflict):
    """The state was changed by somebody else since it was read."""

    code = "state_changed"
    retryable = True


class LeadershipLost(Conflict):
    """The agent does not lead its group any more."""

    code = "leadership_lost"


class LockHeld(Conflict):
    """Somebody else holds this lock."""

    code = "lock_held"


class Refused(MasError, RuntimeError):
    """The gateway refused the message."""

    code = "refused"


class Unauthenticated(Refused):
    """Authentication failed."""

    code = "unauthenticated"


class TokenInvalid(Unauthenticated):
    """Authentication failed: this token does not belong to the agent."""

    code = "token_invalid"


class TokenExpired(Unauthenticated):
    """Authentication failed: the token has expired."""

    code = "token_expired"


class TokenRevoked(Unauthenticated):
    """Authentication failed: the token was revoked."""

    code = "token_revoked"


class CertificateRefused(Unauthenticated):
    """Authentication failed: the certificate does not count."""

    code = "certificate_refused"


class OperatorUnknown(Unauthenticated):
    """This system has operators, and nothing here says which of them you are."""

    code = "operator_unknown"


class Forbidden(Refused):
    """Authorization denied."""

    code = "forbidden"


class RoleForbidden(Forbidden):
    """Your role does not permit this."""

    code = "role_forbidden"


class RateLimited(Refused):
    """Rate limit exceeded."""

    code = "rate_limited"
    retryable = True


class PayloadBlocked(Refused):
    """The payload holds data that the policy does not let through."""

    code = "payload_blocked"


class Unscannable(Refused):
    """The payload could not be scanned, so it was not let through."""

    code = "unscannable"


class SignatureInvalid(Refused):
    """The signature does not fit the message."""

    code = "signature_invalid"


class ReplayDetected(Refused):
    """This message was seen before."""

    code = "replayed"


class MessageExpired(Refused):
    """The message is older than its time to live."""

    code = "expired"


class Backpressure(Refused):
    """The inbox of the target is full."""

    code = "backpressure"
    retryable = True


class StoreFull(Refused):
    """The server is out of memory and takes no new messages."""

    code = "store_full"
    retryable = True


class AuditUnavailable(Refused):
    """The audit takes no records, and nothing is delivered without one."""

    code = "audit_unavailable"
    retryable = True


class Quarantined(Refused):
    """An operator has set the agent aside, so nothing from it or to it passes."""

    code = "quarantined"


class CircuitOpen(Refused):
    """The circuit breaker of the target is open."""

    code = "circuit_open"
    retryable = True

    @property
    def retry_after(self) -> float:
        """Seconds after which another call may pass."""
        found = self.details.get("retry_after")
        return float(found) if isinstance(found, int | float) else 0.0


class AgentFailed(MasError):
    """The agent answered with an error."""

    code = "agent_failed"


class CoordinationRefused(AgentFailed):
    """A resource (a group of leaders, a vote, a queue of tasks) did not carry out what it was told.

    `agent_code` in the details says why, such as `not_leader`.
    """

    code = "coordination_refused"


class TaskFailed(AgentFailed):
    """A task failed, or was cancelled."""

    code = "task_failed"


class StateInvalid(AgentFailed):
    """The stored state of the agent does not fit its model."""

    code = "state_invalid"
    retryable = True


class Unreachable(MasError):
    """The other side cannot be reached."""

    code = "unreachable"
    retryable = True


class StoreUnreachable(Unreachable):
    """The Redis or Valkey server cannot be reached."""

    code = "store_unreachable"


class ReplicasBehind(StoreUnreachable):
    """It was written, but too few replicas confirmed it in time: it is unknown whether it would survive."""

    code = "replicas_behind"


class GatewayDown(Unreachable):
    """No gateway is running."""

    code = "gateway_down"


class EventStoreUnavailable(Unreachable):
    """The database of events cannot be used."""

    code = "event_store_unavailable"
    retryable = True


class ArchiveUnavailable(Unreachable):
    """The archive cannot be used, so nothing was taken out of the store."""

    code = "archive_unavailable"


class SinkUnavailable(Unreachable):
    """A file that records have to be in does not take them."""

    code = "sink_unavailable"


class SinkBehind(SinkUnavailable):
    """A file lacks records before those that it is to take."""

    code = "sink_behind"


class NoResponder(Unreachable, RuntimeError):
    """No running instance of the target could answer."""

    code = "no_responder"


class TimedOut(MasError, TimeoutError):
    """It took longer than allowed."""

    code = "timed_out"
    retryable = True


class RequestTimedOut(TimedOut):
    """No reply came in time."""

    code = "request_timed_out"


class HandlerTimedOut(TimedOut):
    """The handler did not end within its time limit."""

    code = "handler_timed_out"


class DeadlineExceeded(TimedOut):
    """The deadline has passed."""

    code = "deadline_exceeded"


class IntegrityError(MasError):
    """Something is not what it was when it was written."""

    code = "integrity"


class ChainBroken(IntegrityError):
    """The audit chain does not hold."""

    code = "chain_broken"


class LogDiscontinued(IntegrityError):
    """The log in the store does not continue what was signed."""

    code = "log_discontinued"


class EvidenceDamaged(IntegrityError):
    """The evidence folder does not hold what was signed."""

    code = "evidence_damaged"


class NoteInvalid(IntegrityError):
    """This is no signed note, or its signature is wrong."""

    code = "note_invalid"


class ProofInvalid(IntegrityError):
    """This does not prove that a record is in the audit."""

    code = "proof_invalid"


class IndexDamaged(IntegrityError):
    """The index of the audit cannot be used; it can be made again from the records."""

    code = "index_damaged"


class BackupInvalid(IntegrityError):
    """This is no backup of this system, or it was changed since it was made."""

    code = "backup_invalid"


class DecryptionFailed(IntegrityError):
    """The sealed text does not open under this key."""

    code = "decryption_failed"


class InternalError(MasError):
    """This is a bug of mas, not of the caller."""

    code = "internal"


class StoreForbidden(InternalError):
    """The user of the Redis or Valkey server may not do this."""

    code = "store_forbidden"
