"""`AuthManager`: access rules, roles, trust and blocks from Python, as one change."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Self

from mas_core.model.policy import ANYONE, Effect, Mark, PolicyDocument, Rule
from mas_core.registry.policy_record import PolicyRecord
from mas_core.security.access import AccessPolicy
from mas_core.security.policy_changes import add_rules
from mas_core.security.policy_people import MarkKind, assign_role, create_role, set_mark, unassign_role

Edit = Callable[[PolicyDocument, int], PolicyDocument]
"""A change to a policy, at a moment by the server's clock (Unix milliseconds)."""


class AuthManager:
    """Collects changes that `await ... .apply()`, or `await` alone, makes as one revision of the policy.

    Each method gives back another manager with one change more, so calls can be chained:
    `await auth.allow("a", "b").allow_network(["x", "y"]).apply()`. When that returns, every gateway decides
    by the new policy.

    Args:
        policy: The policy of the system, such as `GatewayService.policy`.
    """

    def __init__(self, policy: PolicyRecord, pending: tuple[Edit, ...] = ()) -> None:
        self._policy = policy
        self._pending = pending

    def __call__(self) -> Self:
        """Itself, so that `gateway.auth_manager()` reads as well as `gateway.auth_manager`."""
        return self

    def allow(
        self,
        sender: str,
        target: str | Sequence[str],
        *,
        message_type: str = "*",
        action: str = "*",
        expires_in: float = 0,
        reason: str = "",
    ) -> AuthManager:
        """Let `sender` send to one target or several.

        Args:
            sender: Agent, `role:NAME`, or `*`.
            target: One of these, or several.
            message_type: Glob over message types.
            action: send, request, or `*`.
            expires_in: Seconds until it no longer counts; 0 for never.
            reason: Why, in words.
        """
        return self._with_rules("allow", sender, target, message_type, action, expires_in, reason)

    def hold(
        self,
        sender: str,
        target: str | Sequence[str],
        *,
        message_type: str = "*",
        action: str = "*",
        expires_in: float = 0,
        reason: str = "",
    ) -> AuthManager:
        """Let `sender` send, each message only once a person has approved it; arguments as for `allow`."""
        return self._with_rules("hold", sender, target, message_type, action, expires_in, reason)

    def deny(
        self,
        sender: str,
        target: str | Sequence[str],
        *,
        message_type: str = "*",
        action: str = "*",
        expires_in: float = 0,
        reason: str = "",
    ) -> AuthManager:
        """Forbid it, whatever else allows it; arguments as for `allow`."""
        return self._with_rules("deny", sender, target, message_type, action, expires_in, reason)

    def allow_bidirectional(self, one: str, other: str, *, message_type: str = "*") -> AuthManager:
        """Let two agents send to each other."""
        return self.allow(one, other, message_type=message_type).allow(other, one, message_type=message_type)

    def allow_broadcast(self, sender: str, targets: Sequence[str], *, message_type: str = "*") -> AuthManager:
        """Let one agent send messages to several, one way: no requests."""
        return self.allow(sender, targets, message_type=message_type, action="send")

    def allow_network(self, agents: Sequence[str], *, message_type: str = "*") -> AuthManager:
        """Let each of several agents send to each other one."""
        manager: AuthManager = self
        for agent in dict.fromkeys(agents):
            others = [other for other in agents if other != agent]
            manager = manager.allow(agent, others, message_type=message_type)
        return manager

    def allow_wildcard(self, sender: str, *, message_type: str = "*") -> AuthManager:
        """Let an agent send to every agent there is or will be."""
        return self.allow(sender, ANYONE, message_type=message_type)

    def create_role(self, role: str, members: Sequence[str] = ()) -> AuthManager:
        """Make a role; rules name it as `role:NAME`."""
        return self._and(lambda document, _now: create_role(document, role, members))

    def assign_role(self, role: str, members: Sequence[str]) -> AuthManager:
        """Give agents a role."""
        return self._and(lambda document, _now: assign_role(document, role, members))

    def unassign_role(self, role: str, members: Sequence[str]) -> AuthManager:
        """Take a role from agents."""
        return self._and(lambda document, _now: unassign_role(document, role, members))

    def add_trusted_agent(self, agent_id: str, reason: str = "", *, expires_in: float = 0) -> AuthManager:
        """Let an agent send to everybody without rule or approval, unless a rule denies it."""
        return self._marked("trusted", agent_id, reason, expires_in)

    def remove_trusted_agent(self, agent_id: str) -> AuthManager:
        """Let the rules count for an agent again."""
        return self._and(lambda document, _now: set_mark(document, "trusted", agent_id, None))

    def block_agent(self, agent_id: str, reason: str = "", *, expires_in: float = 0) -> AuthManager:
        """Let nothing pass from an agent or to it, whatever else is allowed."""
        return self._marked("blocked", agent_id, reason, expires_in)

    def unblock_agent(self, agent_id: str) -> AuthManager:
        """Take a block back."""
        return self._and(lambda document, _now: set_mark(document, "blocked", agent_id, None))

    async def apply(self) -> PolicyDocument:
        """Make the changes, all or none; in force when this returns.

        Raises:
            UsageError: One of them makes no sense; nothing is changed.
            NotFound, Conflict: There is no such role, or it is there already; nothing is changed.
        """
        now = await self._policy.time_ms()

        def edit(document: PolicyDocument) -> PolicyDocument:
            for change in self._pending:
                document = change(document, now)
            return document

        return await self._policy.change(edit)

    def __await__(self) -> Generator[Any, None, PolicyDocument]:
        return self.apply().__await__()

    async def grant_permission(self, agent_id: str, target_id: str, action: str = "*") -> None:
        """Let one agent do one thing to another: `send`, `request`, or `*`; in force when this returns."""
        await self.allow(agent_id, target_id, action=action)

    async def check_permission(
        self, agent_id: str, target_id: str, action: str = "send", message_type: str = "message"
    ) -> bool:
        """Whether the policy in force lets it pass, without a person's approval."""
        document = await self._policy.load() or PolicyDocument()
        now = await self._policy.time_ms()
        return AccessPolicy(document).decide(agent_id, target_id, message_type, action, now).allowed

    def _and(self, edit: Edit) -> AuthManager:
        return AuthManager(self._policy, (*self._pending, edit))

    def _with_rules(
        self,
        effect: Effect,
        sender: str,
        target: str | Sequence[str],
        message_type: str,
        action: str,
        expires_in: float,
        reason: str,
    ) -> AuthManager:
        targets = (target,) if isinstance(target, str) else tuple(target)

        def edit(document: PolicyDocument, now: int) -> PolicyDocument:
            expires = now + int(expires_in * 1000) if expires_in else 0
            return add_rules(
                document,
                [
                    Rule(
                        "",
                        effect,
                        sender,
                        one,
                        message_type,
                        action,
                        expires,
                        "api",
                        reason,
                        created=now,
                    )
                    for one in targets
                ],
            )

        return self._and(edit)

    def _marked(self, kind: MarkKind, agent_id: str, reason: str, expires_in: float) -> AuthManager:
        def edit(document: PolicyDocument, now: int) -> PolicyDocument:
            expires = now + int(expires_in * 1000) if expires_in else 0
            return set_mark(document, kind, agent_id, Mark(reason, expires, "api", now))

        return self._and(edit)
