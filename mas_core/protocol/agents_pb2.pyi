from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class NewMessage(_message.Message):
    __slots__ = ("target", "type", "data", "priority", "ttl_ms", "message_id", "headers", "delivery", "deliver_at_ms", "deliver_after_ms", "on_behalf")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    DELIVER_AT_MS_FIELD_NUMBER: _ClassVar[int]
    DELIVER_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_FIELD_NUMBER: _ClassVar[int]
    target: str
    type: str
    data: str
    priority: int
    ttl_ms: int
    message_id: str
    headers: _containers.ScalarMap[str, str]
    delivery: str
    deliver_at_ms: int
    deliver_after_ms: int
    on_behalf: bool
    def __init__(self, target: _Optional[str] = ..., type: _Optional[str] = ..., data: _Optional[str] = ..., priority: _Optional[int] = ..., ttl_ms: _Optional[int] = ..., message_id: _Optional[str] = ..., headers: _Optional[_Mapping[str, str]] = ..., delivery: _Optional[str] = ..., deliver_at_ms: _Optional[int] = ..., deliver_after_ms: _Optional[int] = ..., on_behalf: bool = ...) -> None: ...

class NewPublication(_message.Message):
    __slots__ = ("topic", "type", "data", "priority", "ttl_ms", "message_id", "headers")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TTL_MS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    topic: str
    type: str
    data: str
    priority: int
    ttl_ms: int
    message_id: str
    headers: _containers.ScalarMap[str, str]
    def __init__(self, topic: _Optional[str] = ..., type: _Optional[str] = ..., data: _Optional[str] = ..., priority: _Optional[int] = ..., ttl_ms: _Optional[int] = ..., message_id: _Optional[str] = ..., headers: _Optional[_Mapping[str, str]] = ...) -> None: ...

class NewRequest(_message.Message):
    __slots__ = ("message", "timeout_ms")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    message: NewMessage
    timeout_ms: int
    def __init__(self, message: _Optional[_Union[NewMessage, _Mapping]] = ..., timeout_ms: _Optional[int] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("message_id", "decision", "reason", "rule", "findings", "approval", "deliver_at_ms")
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    DELIVER_AT_MS_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    decision: str
    reason: str
    rule: str
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    approval: str
    deliver_at_ms: int
    def __init__(self, message_id: _Optional[str] = ..., decision: _Optional[str] = ..., reason: _Optional[str] = ..., rule: _Optional[str] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., approval: _Optional[str] = ..., deliver_at_ms: _Optional[int] = ...) -> None: ...

class Finding(_message.Message):
    __slots__ = ("rule", "category", "path", "start", "end", "action")
    RULE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    rule: str
    category: str
    path: str
    start: int
    end: int
    action: str
    def __init__(self, rule: _Optional[str] = ..., category: _Optional[str] = ..., path: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., action: _Optional[str] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("message_id", "sender", "target", "type", "data", "priority", "headers", "time_ms", "expects_reply", "correlation_id", "attempt", "takeovers", "topic", "number", "on_behalf_of")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    EXPECTS_REPLY_FIELD_NUMBER: _ClassVar[int]
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    TAKEOVERS_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ON_BEHALF_OF_FIELD_NUMBER: _ClassVar[int]
    message_id: str
    sender: str
    target: str
    type: str
    data: str
    priority: int
    headers: _containers.ScalarMap[str, str]
    time_ms: int
    expects_reply: bool
    correlation_id: str
    attempt: int
    takeovers: int
    topic: str
    number: int
    on_behalf_of: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, message_id: _Optional[str] = ..., sender: _Optional[str] = ..., target: _Optional[str] = ..., type: _Optional[str] = ..., data: _Optional[str] = ..., priority: _Optional[int] = ..., headers: _Optional[_Mapping[str, str]] = ..., time_ms: _Optional[int] = ..., expects_reply: bool = ..., correlation_id: _Optional[str] = ..., attempt: _Optional[int] = ..., takeovers: _Optional[int] = ..., topic: _Optional[str] = ..., number: _Optional[int] = ..., on_behalf_of: _Optional[_Iterable[str]] = ...) -> None: ...

class Fault(_message.Message):
    __slots__ = ("code", "message", "hints", "details")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HINTS_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    hints: _containers.RepeatedScalarFieldContainer[str]
    details: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., hints: _Optional[_Iterable[str]] = ..., details: _Optional[str] = ...) -> None: ...

class DiscoverRequest(_message.Message):
    __slots__ = ("capabilities", "match_all", "metadata", "limit")
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    MATCH_ALL_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    match_all: bool
    metadata: str
    limit: int
    def __init__(self, capabilities: _Optional[_Iterable[str]] = ..., match_all: bool = ..., metadata: _Optional[str] = ..., limit: _Optional[int] = ...) -> None: ...

class DiscoverReply(_message.Message):
    __slots__ = ("agents",)
    class Agent(_message.Message):
        __slots__ = ("id", "capabilities", "metadata", "instances", "load", "free")
        ID_FIELD_NUMBER: _ClassVar[int]
        CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
        METADATA_FIELD_NUMBER: _ClassVar[int]
        INSTANCES_FIELD_NUMBER: _ClassVar[int]
        LOAD_FIELD_NUMBER: _ClassVar[int]
        FREE_FIELD_NUMBER: _ClassVar[int]
        id: str
        capabilities: _containers.RepeatedScalarFieldContainer[str]
        metadata: str
        instances: int
        load: int
        free: int
        def __init__(self, id: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., metadata: _Optional[str] = ..., instances: _Optional[int] = ..., load: _Optional[int] = ..., free: _Optional[int] = ...) -> None: ...
    AGENTS_FIELD_NUMBER: _ClassVar[int]
    agents: _containers.RepeatedCompositeFieldContainer[DiscoverReply.Agent]
    def __init__(self, agents: _Optional[_Iterable[_Union[DiscoverReply.Agent, _Mapping]]] = ...) -> None: ...

class GetStateRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class State(_message.Message):
    __slots__ = ("data", "revision")
    DATA_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    data: str
    revision: int
    def __init__(self, data: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class SetStateRequest(_message.Message):
    __slots__ = ("data", "expected_revision")
    DATA_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    data: str
    expected_revision: int
    def __init__(self, data: _Optional[str] = ..., expected_revision: _Optional[int] = ...) -> None: ...

class NewTask(_message.Message):
    __slots__ = ("type", "parameters", "queue", "task_id", "description", "agent", "capabilities", "priority", "timeout_ms", "depends_on", "max_attempts", "retry_delay_ms")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    AGENT_FIELD_NUMBER: _ClassVar[int]
    CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    DEPENDS_ON_FIELD_NUMBER: _ClassVar[int]
    MAX_ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    RETRY_DELAY_MS_FIELD_NUMBER: _ClassVar[int]
    type: str
    parameters: str
    queue: str
    task_id: str
    description: str
    agent: str
    capabilities: _containers.RepeatedScalarFieldContainer[str]
    priority: int
    timeout_ms: int
    depends_on: _containers.RepeatedScalarFieldContainer[str]
    max_attempts: int
    retry_delay_ms: int
    def __init__(self, type: _Optional[str] = ..., parameters: _Optional[str] = ..., queue: _Optional[str] = ..., task_id: _Optional[str] = ..., description: _Optional[str] = ..., agent: _Optional[str] = ..., capabilities: _Optional[_Iterable[str]] = ..., priority: _Optional[int] = ..., timeout_ms: _Optional[int] = ..., depends_on: _Optional[_Iterable[str]] = ..., max_attempts: _Optional[int] = ..., retry_delay_ms: _Optional[int] = ...) -> None: ...

class AssignedTask(_message.Message):
    __slots__ = ("task_id", "queue")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    queue: str
    def __init__(self, task_id: _Optional[str] = ..., queue: _Optional[str] = ...) -> None: ...

class GetTaskRequest(_message.Message):
    __slots__ = ("task_id", "queue", "wait_ms")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    WAIT_MS_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    queue: str
    wait_ms: int
    def __init__(self, task_id: _Optional[str] = ..., queue: _Optional[str] = ..., wait_ms: _Optional[int] = ...) -> None: ...

class CancelTaskRequest(_message.Message):
    __slots__ = ("task_id", "queue", "reason")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    queue: str
    reason: str
    def __init__(self, task_id: _Optional[str] = ..., queue: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("task_id", "queue", "type", "status", "assigner", "worker", "attempt", "progress", "note", "deadline_ms", "result", "error_type", "error_message")
    TASK_ID_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ASSIGNER_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_TYPE_FIELD_NUMBER: _ClassVar[int]
    ERROR_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    task_id: str
    queue: str
    type: str
    status: str
    assigner: str
    worker: str
    attempt: int
    progress: float
    note: str
    deadline_ms: int
    result: str
    error_type: str
    error_message: str
    def __init__(self, task_id: _Optional[str] = ..., queue: _Optional[str] = ..., type: _Optional[str] = ..., status: _Optional[str] = ..., assigner: _Optional[str] = ..., worker: _Optional[str] = ..., attempt: _Optional[int] = ..., progress: _Optional[float] = ..., note: _Optional[str] = ..., deadline_ms: _Optional[int] = ..., result: _Optional[str] = ..., error_type: _Optional[str] = ..., error_message: _Optional[str] = ...) -> None: ...

class FromAgent(_message.Message):
    __slots__ = ("id", "delivery", "hello", "ack", "nack", "reply", "progress", "send", "request", "publish", "change_state", "drain")
    class Hello(_message.Message):
        __slots__ = ("capabilities", "metadata", "max_in_flight", "handle_within_ms", "mode", "ordered", "subscriptions", "tasks")
        CAPABILITIES_FIELD_NUMBER: _ClassVar[int]
        METADATA_FIELD_NUMBER: _ClassVar[int]
        MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
        HANDLE_WITHIN_MS_FIELD_NUMBER: _ClassVar[int]
        MODE_FIELD_NUMBER: _ClassVar[int]
        ORDERED_FIELD_NUMBER: _ClassVar[int]
        SUBSCRIPTIONS_FIELD_NUMBER: _ClassVar[int]
        TASKS_FIELD_NUMBER: _ClassVar[int]
        capabilities: _containers.RepeatedScalarFieldContainer[str]
        metadata: str
        max_in_flight: int
        handle_within_ms: int
        mode: str
        ordered: bool
        subscriptions: _containers.RepeatedCompositeFieldContainer[FromAgent.Subscription]
        tasks: FromAgent.TakeTasks
        def __init__(self, capabilities: _Optional[_Iterable[str]] = ..., metadata: _Optional[str] = ..., max_in_flight: _Optional[int] = ..., handle_within_ms: _Optional[int] = ..., mode: _Optional[str] = ..., ordered: bool = ..., subscriptions: _Optional[_Iterable[_Union[FromAgent.Subscription, _Mapping]]] = ..., tasks: _Optional[_Union[FromAgent.TakeTasks, _Mapping]] = ...) -> None: ...
    class Subscription(_message.Message):
        __slots__ = ("pattern", "durable", "start")
        PATTERN_FIELD_NUMBER: _ClassVar[int]
        DURABLE_FIELD_NUMBER: _ClassVar[int]
        START_FIELD_NUMBER: _ClassVar[int]
        pattern: str
        durable: bool
        start: str
        def __init__(self, pattern: _Optional[str] = ..., durable: bool = ..., start: _Optional[str] = ...) -> None: ...
    class TakeTasks(_message.Message):
        __slots__ = ("queue", "types", "slots")
        QUEUE_FIELD_NUMBER: _ClassVar[int]
        TYPES_FIELD_NUMBER: _ClassVar[int]
        SLOTS_FIELD_NUMBER: _ClassVar[int]
        queue: str
        types: _containers.RepeatedScalarFieldContainer[str]
        slots: int
        def __init__(self, queue: _Optional[str] = ..., types: _Optional[_Iterable[str]] = ..., slots: _Optional[int] = ...) -> None: ...
    class Ack(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class Nack(_message.Message):
        __slots__ = ("reason", "permanent", "retry_after_ms")
        REASON_FIELD_NUMBER: _ClassVar[int]
        PERMANENT_FIELD_NUMBER: _ClassVar[int]
        RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
        reason: str
        permanent: bool
        retry_after_ms: int
        def __init__(self, reason: _Optional[str] = ..., permanent: bool = ..., retry_after_ms: _Optional[int] = ...) -> None: ...
    class Reply(_message.Message):
        __slots__ = ("type", "data", "partial")
        TYPE_FIELD_NUMBER: _ClassVar[int]
        DATA_FIELD_NUMBER: _ClassVar[int]
        PARTIAL_FIELD_NUMBER: _ClassVar[int]
        type: str
        data: str
        partial: bool
        def __init__(self, type: _Optional[str] = ..., data: _Optional[str] = ..., partial: bool = ...) -> None: ...
    class Progress(_message.Message):
        __slots__ = ("percentage", "note")
        PERCENTAGE_FIELD_NUMBER: _ClassVar[int]
        NOTE_FIELD_NUMBER: _ClassVar[int]
        percentage: float
        note: str
        def __init__(self, percentage: _Optional[float] = ..., note: _Optional[str] = ...) -> None: ...
    class ChangeState(_message.Message):
        __slots__ = ("fields",)
        FIELDS_FIELD_NUMBER: _ClassVar[int]
        fields: str
        def __init__(self, fields: _Optional[str] = ...) -> None: ...
    class Drain(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    NACK_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SEND_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    PUBLISH_FIELD_NUMBER: _ClassVar[int]
    CHANGE_STATE_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    id: int
    delivery: int
    hello: FromAgent.Hello
    ack: FromAgent.Ack
    nack: FromAgent.Nack
    reply: FromAgent.Reply
    progress: FromAgent.Progress
    send: NewMessage
    request: NewRequest
    publish: NewPublication
    change_state: FromAgent.ChangeState
    drain: FromAgent.Drain
    def __init__(self, id: _Optional[int] = ..., delivery: _Optional[int] = ..., hello: _Optional[_Union[FromAgent.Hello, _Mapping]] = ..., ack: _Optional[_Union[FromAgent.Ack, _Mapping]] = ..., nack: _Optional[_Union[FromAgent.Nack, _Mapping]] = ..., reply: _Optional[_Union[FromAgent.Reply, _Mapping]] = ..., progress: _Optional[_Union[FromAgent.Progress, _Mapping]] = ..., send: _Optional[_Union[NewMessage, _Mapping]] = ..., request: _Optional[_Union[NewRequest, _Mapping]] = ..., publish: _Optional[_Union[NewPublication, _Mapping]] = ..., change_state: _Optional[_Union[FromAgent.ChangeState, _Mapping]] = ..., drain: _Optional[_Union[FromAgent.Drain, _Mapping]] = ...) -> None: ...

class ToAgent(_message.Message):
    __slots__ = ("welcome", "delivery", "answer", "ended", "draining", "gap")
    class Welcome(_message.Message):
        __slots__ = ("agent_id", "instance", "time_ms")
        AGENT_ID_FIELD_NUMBER: _ClassVar[int]
        INSTANCE_FIELD_NUMBER: _ClassVar[int]
        TIME_MS_FIELD_NUMBER: _ClassVar[int]
        agent_id: str
        instance: str
        time_ms: int
        def __init__(self, agent_id: _Optional[str] = ..., instance: _Optional[str] = ..., time_ms: _Optional[int] = ...) -> None: ...
    class Delivery(_message.Message):
        __slots__ = ("number", "message", "task")
        class Task(_message.Message):
            __slots__ = ("task_id", "queue", "type", "attempt", "assigner", "deadline_ms", "parameters", "description")
            TASK_ID_FIELD_NUMBER: _ClassVar[int]
            QUEUE_FIELD_NUMBER: _ClassVar[int]
            TYPE_FIELD_NUMBER: _ClassVar[int]
            ATTEMPT_FIELD_NUMBER: _ClassVar[int]
            ASSIGNER_FIELD_NUMBER: _ClassVar[int]
            DEADLINE_MS_FIELD_NUMBER: _ClassVar[int]
            PARAMETERS_FIELD_NUMBER: _ClassVar[int]
            DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
            task_id: str
            queue: str
            type: str
            attempt: int
            assigner: str
            deadline_ms: int
            parameters: str
            description: str
            def __init__(self, task_id: _Optional[str] = ..., queue: _Optional[str] = ..., type: _Optional[str] = ..., attempt: _Optional[int] = ..., assigner: _Optional[str] = ..., deadline_ms: _Optional[int] = ..., parameters: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...
        NUMBER_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        TASK_FIELD_NUMBER: _ClassVar[int]
        number: int
        message: Message
        task: ToAgent.Delivery.Task
        def __init__(self, number: _Optional[int] = ..., message: _Optional[_Union[Message, _Mapping]] = ..., task: _Optional[_Union[ToAgent.Delivery.Task, _Mapping]] = ...) -> None: ...
    class Answer(_message.Message):
        __slots__ = ("id", "error", "receipt", "message", "done")
        class Done(_message.Message):
            __slots__ = ()
            def __init__(self) -> None: ...
        ID_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        RECEIPT_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        DONE_FIELD_NUMBER: _ClassVar[int]
        id: int
        error: Fault
        receipt: Receipt
        message: Message
        done: ToAgent.Answer.Done
        def __init__(self, id: _Optional[int] = ..., error: _Optional[_Union[Fault, _Mapping]] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ..., message: _Optional[_Union[Message, _Mapping]] = ..., done: _Optional[_Union[ToAgent.Answer.Done, _Mapping]] = ...) -> None: ...
    class Ended(_message.Message):
        __slots__ = ("delivery", "error")
        DELIVERY_FIELD_NUMBER: _ClassVar[int]
        ERROR_FIELD_NUMBER: _ClassVar[int]
        delivery: int
        error: Fault
        def __init__(self, delivery: _Optional[int] = ..., error: _Optional[_Union[Fault, _Mapping]] = ...) -> None: ...
    class Draining(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class Gap(_message.Message):
        __slots__ = ("topic", "first", "last")
        TOPIC_FIELD_NUMBER: _ClassVar[int]
        FIRST_FIELD_NUMBER: _ClassVar[int]
        LAST_FIELD_NUMBER: _ClassVar[int]
        topic: str
        first: int
        last: int
        def __init__(self, topic: _Optional[str] = ..., first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    welcome: ToAgent.Welcome
    delivery: ToAgent.Delivery
    answer: ToAgent.Answer
    ended: ToAgent.Ended
    draining: ToAgent.Draining
    gap: ToAgent.Gap
    def __init__(self, welcome: _Optional[_Union[ToAgent.Welcome, _Mapping]] = ..., delivery: _Optional[_Union[ToAgent.Delivery, _Mapping]] = ..., answer: _Optional[_Union[ToAgent.Answer, _Mapping]] = ..., ended: _Optional[_Union[ToAgent.Ended, _Mapping]] = ..., draining: _Optional[_Union[ToAgent.Draining, _Mapping]] = ..., gap: _Optional[_Union[ToAgent.Gap, _Mapping]] = ...) -> None: ...
