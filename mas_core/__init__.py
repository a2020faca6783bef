"""mas: run agents, let them talk through a gateway, and see, control and prove what happened.

Everything public is here and in `mas_core.testing`; it is loaded when it is first used, so that importing
a small part of the library costs little.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mas_core.agent.agent import Agent
    from mas_core.agent.client import Client
    from mas_core.agent.consensus import Consensus
    from mas_core.agent.known_messages import (
        CommandMessage,
        Coordination,
        ErrorReport,
        EventMessage,
        Heartbeat,
        KnownMessage,
        StatusUpdate,
        TaskAssignment,
        TaskResponse,
    )
    from mas_core.agent.leadership import Leadership
    from mas_core.agent.publishing import BroadcastReceipt
    from mas_core.agent.subscription import Subscription
    from mas_core.agent.supervisor import NewTask, Supervisor, TaskStatus
    from mas_core.agent.sync_client import SyncClient
    from mas_core.agent.task_handlers import TaskInHand
    from mas_core.audit.sinks.daily_files import ActivityLog
    from mas_core.errors import (
        AgentFailed,
        AgentNotFound,
        AlreadyRegistered,
        Backpressure,
        CertificateRefused,
        ChainBroken,
        CircuitOpen,
        ConfigurationError,
        Conflict,
        ContextNotFound,
        CoordinationRefused,
        DeadlineExceeded,
        DecryptionFailed,
        EventInvalid,
        EventStoreUnavailable,
        FilterInvalid,
        Forbidden,
        GatewayDown,
        HandlerTimedOut,
        IntegrityError,
        InternalError,
        InvalidIdentifier,
        InvalidPayload,
        KeyNotFound,
        LeadershipLost,
        LockHeld,
        MasError,
        MessageExpired,
        MessageNotFound,
        NoResponder,
        NotFound,
        NotStarted,
        PayloadBlocked,
        ProfileUnmet,
        ProjectNotFound,
        RateLimited,
        Refused,
        ReplayDetected,
        ReplicasBehind,
        RequestTimedOut,
        ResourceNotFound,
        RevisionNotFound,
        RoleExists,
        RoleNotFound,
        RuleNotFound,
        SecretUnavailable,
        SignatureInvalid,
        SpecInvalid,
        StateChanged,
        StateInvalid,
        StoreForbidden,
        StoreFull,
        StoreUnreachable,
        TaskFailed,
        TimedOut,
        TokenExpired,
        TokenInvalid,
        TokenRevoked,
        Unauthenticated,
        UnknownFormat,
        Unreachable,
        Unscannable,
        UsageError,
    )
    from mas_core.events.consumers import EventConsumer
    from mas_core.events.dispatcher import EventDispatcher
    from mas_core.events.query import EventQuery
    from mas_core.events.store import EventStore
    from mas_core.events.subscription import EventStream
    from mas_core.model.decision import Decision, Receipt
    from mas_core.model.event import Event, EventType
    from mas_core.model.message import AgentMessage
    from mas_core.model.topic import TopicGap
    from mas_core.model.vote import Motion, Proposal, VotingStrategy
    from mas_core.ops.auth_manager import AuthManager
    from mas_core.ops.gateway_service import GatewayService
    from mas_core.resilience.circuit_breaker import CircuitBreaker
    from mas_core.resilience.retry_policy import RetryPolicy, retry
    from mas_core.settings.gateway_settings import GatewaySettings
    from mas_core.settings.tls_files import TlsFiles

_HOMES = {
    "ActivityLog": "mas_core.audit.sinks.daily_files",
    "Agent": "mas_core.agent.agent",
    "AgentMessage": "mas_core.model.message",
    "AuthManager": "mas_core.ops.auth_manager",
    "BroadcastReceipt": "mas_core.agent.publishing",
    "CircuitBreaker": "mas_core.resilience.circuit_breaker",
    "Client": "mas_core.agent.client",
    "CommandMessage": "mas_core.agent.known_messages",
    "Consensus": "mas_core.agent.consensus",
    "Coordination": "mas_core.agent.known_messages",
    "Decision": "mas_core.model.decision",
    "ErrorReport": "mas_core.agent.known_messages",
    "Event": "mas_core.model.event",
    "EventConsumer": "mas_core.events.consumers",
    "EventDispatcher": "mas_core.events.dispatcher",
    "EventMessage": "mas_core.agent.known_messages",
    "EventQuery": "mas_core.events.query",
    "EventStore": "mas_core.events.store",
    "EventStream": "mas_core.events.subscription",
    "EventType": "mas_core.model.event",
    "GatewayService": "mas_core.ops.gateway_service",
    "GatewaySettings": "mas_core.settings.gateway_settings",
    "Heartbeat": "mas_core.agent.known_messages",
    "KnownMessage": "mas_core.agent.known_messages",
    "Leadership": "mas_core.agent.leadership",
    "Motion": "mas_core.model.vote",
    "NewTask": "mas_core.agent.supervisor",
    "Proposal": "mas_core.model.vote",
    "Receipt": "mas_core.model.decision",
    "VotingStrategy": "mas_core.model.vote",
    "retry": "mas_core.resilience.retry_policy",
    "RetryPolicy": "mas_core.resilience.retry_policy",
    "StatusUpdate": "mas_core.agent.known_messages",
    "Subscription": "mas_core.agent.subscription",
    "Supervisor": "mas_core.agent.supervisor",
    "SyncClient": "mas_core.agent.sync_client",
    "TlsFiles": "mas_core.settings.tls_files",
    "TaskAssignment": "mas_core.agent.known_messages",
    "TaskInHand": "mas_core.agent.task_handlers",
    "TaskResponse": "mas_core.agent.known_messages",
    "TaskStatus": "mas_core.agent.supervisor",
    "TopicGap": "mas_core.model.topic",
}

__all__ = [
    "ActivityLog",
    "Agent",
    "AgentFailed",
    "AgentMessage",
    "AgentNotFound",
    "AlreadyRegistered",
    "AuthManager",
    "Backpressure",
    "BroadcastReceipt",
    "CertificateRefused",
    "ChainBroken",
    "CircuitBreaker",
    "CircuitOpen",
    "Client",
    "CommandMessage",
    "ConfigurationError",
    "Conflict",
    "Consensus",
    "ContextNotFound",
    "Coordination",
    "CoordinationRefused",
    "DeadlineExceeded",
    "Decision",
    "DecryptionFailed",
    "ErrorReport",
    "Event",
    "EventConsumer",
    "EventDispatcher",
    "EventInvalid",
    "EventMessage",
    "EventQuery",
    "EventStore",
    "EventStoreUnavailable",
    "EventStream",
    "EventType",
    "FilterInvalid",
    "Forbidden",
    "GatewayDown",
    "GatewayService",
    "GatewaySettings",
    "HandlerTimedOut",
    "Heartbeat",
    "IntegrityError",
    "InternalError",
    "InvalidIdentifier",
    "InvalidPayload",
    "KeyNotFound",
    "KnownMessage",
    "Leadership",
    "LeadershipLost",
    "LockHeld",
    "MasError",
    "MessageExpired",
    "MessageNotFound",
    "Motion",
    "NewTask",
    "NoResponder",
    "NotFound",
    "NotStarted",
    "PayloadBlocked",
    "ProfileUnmet",
    "ProjectNotFound",
    "Proposal",
    "RateLimited",
    "Receipt",
    "Refused",
    "ReplayDetected",
    "ReplicasBehind",
    "RequestTimedOut",
    "ResourceNotFound",
    "RetryPolicy",
    "RevisionNotFound",
    "RoleExists",
    "RoleNotFound",
    "RuleNotFound",
    "SecretUnavailable",
    "SignatureInvalid",
    "SpecInvalid",
    "StateChanged",
    "StateInvalid",
    "StatusUpdate",
    "StoreForbidden",
    "StoreFull",
    "StoreUnreachable",
    "Subscription",
    "Supervisor",
    "SyncClient",
    "TaskAssignment",
    "TaskFailed",
    "TaskInHand",
    "TaskResponse",
    "TaskStatus",
    "TimedOut",
    "TlsFiles",
    "TokenExpired",
    "TokenInvalid",
    "TokenRevoked",
    "TopicGap",
    "Unauthenticated",
    "UnknownFormat",
    "Unreachable",
    "Unscannable",
    "UsageError",
    "VotingStrategy",
    "retry",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES.get(name, "mas_core.errors")), name)
    globals()[name] = value
    return value
