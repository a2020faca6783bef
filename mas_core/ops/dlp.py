"""The scanner without a system: scan payloads, list rules, check expectations, open sealed values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

from mas_core.errors import Conflict, InvalidPayload
from mas_core.model.json_text import parse_and_rewrite
from mas_core.security.dlp import JsonValue, RulePack, Scanner, ScanResult, load_pack
from mas_core.security.dlp.actions import Actions
from mas_core.security.dlp.allow_list import HASH_PREFIX, value_hash
from mas_core.security.dlp.sealed_values import new_private_key, open_tokens, public_half
from mas_core.settings.policy_file import load_policy_file
from mas_core.settings.private_files import read_private, write_private
from mas_core.settings.yaml_documents import YamlDocument, read_yaml

MAX_LINE_BYTES: Final = 1_000_000
BATCH_LINES: Final = 256
OUTCOMES: Final = ("pass", "alert", "redact", "block", "unscannable")

LineResult: TypeAlias = "tuple[int, ScanResult | InvalidPayload]"


@dataclass(frozen=True)
class Scanning:
    """A scanner, and what it was made from."""

    pack: RulePack
    actions: Mapping[str, str]
    scanner: Scanner
    off: frozenset[str] = frozenset()
    """Rules that are looked for although they are off."""

    def action_of(self, rule_id: str) -> str:
        """What is done about what a rule finds."""
        rule = next(rule for rule in self.pack.rules if rule.id == rule_id)
        return Actions(self.actions).of(rule, ())


def scanning(policy: Path | None = None, pack: Path | None = None, *, with_off: bool = False) -> Scanning:
    """A scanner for a policy file and a rule pack.

    Args:
        policy: A policy.yaml whose `dlp` and `dlp_keys` count, or a rule pack; neither when None.
        pack: A rule pack; the built-in one when None.
        with_off: Whether rules that the pack, and not the policy, has switched off are looked for as well.

    Raises:
        SpecInvalid: A file cannot be used; names file and line.
        ConfigurationError: The policy speaks of rules or keys that are not there.
    """
    actions: dict[str, str] = {}
    keys: dict[str, str] = {}
    if policy is not None and "version" in read_yaml(policy).value:
        pack, policy = policy, None
    if policy is not None:
        loaded = load_policy_file(policy)
        actions, keys = loaded.dlp_actions, loaded.dlp_keys
    rules = load_pack(pack)
    also = {
        rule.id: "alert"
        for rule in rules.rules
        if with_off
        and rule.action == "off"
        and Actions(actions).of(rule, ()) == "off"
        and rule.id not in actions
    }
    return Scanning(rules, actions, Scanner(rules, {**also, **actions}, keys=keys), frozenset(also))


def masked(used: Scanning, value: object) -> tuple[JsonValue, int] | None:
    """A payload without anything that is found in it, whatever the policy does about it, and how much that is.

    None when it cannot be looked through.
    """
    every = {rule.id: "redact" for rule in used.pack.rules if used.action_of(rule.id) != "off"}
    every |= {rule.id: "off" for rule in used.pack.rules if rule.id not in every}
    result = Scanner(used.pack, every).scan(value)  # type: ignore[arg-type]
    if result.action in ("block", "unscannable"):
        return None
    return result.value, len(result.findings)


def scan_lines(scanner: Scanner, lines: Iterable[bytes]) -> Iterator[LineResult]:
    """What is found in each line of JSON Lines, from line 1; lines in which nothing is found are left out."""
    numbered = enumerate(lines, 1)
    while batch := list(islice(numbered, BATCH_LINES)):
        yield from _scan_batch(scanner, batch)


def _scan_batch(scanner: Scanner, batch: list[tuple[int, bytes]]) -> Iterator[LineResult]:
    results: dict[int, ScanResult | InvalidPayload] = {}
    read: list[tuple[int, JsonValue, bytes]] = []
    for number, line in batch:
        text = line.strip()
        if not text:
            continue
        try:
            value, written = parse_and_rewrite(text, max_bytes=MAX_LINE_BYTES)
        except InvalidPayload as error:
            results[number] = error
        else:
            read.append((number, value, written))
    for index in scanner.suspects([written for _, _, written in read]):
        number, value, _ = read[index]
        result = scanner.scan(value)
        if result.action != "pass":
            results[number] = result
    yield from sorted(results.items(), key=lambda item: item[0])


@dataclass(frozen=True)
class CaseResult:
    """One expectation and whether it was met."""

    name: str
    line: int
    passed: bool
    problems: tuple[str, ...] = ()


def run_cases(path: Path, scanner: Scanner, known_rules: Iterable[str]) -> list[CaseResult]:
    """Check the expectations in a file: `cases:`, a list of mappings.

    Each has `value`, any payload, and at least one of `find` (ids of rules that must find something), `not`
    (ids that must not) and `action` (what is done about the payload: pass, alert, redact, block, unscannable);
    `find: []` says that nothing at all is found. `name` is shown in the result.

    Raises:
        SpecInvalid: The file cannot be used; names the line.
    """
    document = read_yaml(path)
    cases = document.value.get("cases")
    if not isinstance(cases, list) or document.value.keys() != {"cases"}:
        raise document.error("holds no list of cases", "cases", hint="cases: [{value: ..., find: [card]}]")
    known = frozenset(known_rules)
    return [_run_case(case, number, document, scanner, known) for number, case in enumerate(cases)]


def _run_case(
    case: object, number: int, document: YamlDocument, scanner: Scanner, known: frozenset[str]
) -> CaseResult:
    fields = {"name", "value", "find", "not", "action"}
    if not isinstance(case, dict) or "value" not in case or not {"find", "not", "action"} & case.keys():
        raise document.error(
            "a case has a value, and find, not or action", "cases", number, hint="{value: ..., find: [card]}"
        )
    if unknown := sorted(case.keys() - fields):
        raise document.error(f"a case has no field {unknown[0]!r}", "cases", number, unknown[0])
    wanted, unwanted = case.get("find"), case.get("not", [])
    for rules in (wanted or [], unwanted):
        if not isinstance(rules, list) or not all(isinstance(rule, str) for rule in rules):
            raise document.error("find and not are lists of rule ids", "cases", number)
        for rule in rules:
            if rule not in known:
                raise document.error(f"there is no rule {rule!r}", "cases", number, hint="mas dlp rules")
    action = case.get("action")
    if action is not None and action not in OUTCOMES:
        raise document.error(f"{action!r} is no outcome", "cases", number, "action", hint=", ".join(OUTCOMES))
    result = scanner.scan(case["value"])
    found = {finding.rule for finding in result.findings}
    problems = [f"{rule} finds nothing" for rule in wanted or [] if rule not in found]
    problems += [f"{rule} finds something" for rule in unwanted if rule in found]
    if wanted == [] and found:
        problems.append(f"found: {', '.join(sorted(found))}")
    if action is not None and result.action != action:
        problems.append(f"the action is {result.action}, not {action}")
    name = case.get("name")
    return CaseResult(
        name if isinstance(name, str) else f"case {number + 1}",
        document.line("cases", number),
        not problems,
        tuple(problems),
    )


def make_key(path: Path) -> str:
    """A new private key in a private file at `path`; its public half, for `dlp_keys` of a policy.

    Raises:
        Conflict: There is a file already.
        ConfigurationError: It cannot be written.
    """
    if path.exists():
        raise Conflict(
            f"{path} is there already", hint="choose another name; a key that is lost opens nothing"
        )
    private_key = new_private_key()
    write_private(path, private_key.encode() + b"\n")
    return public_half(private_key)


def decrypt_value(value: object, key_path: Path) -> tuple[JsonValue, int]:
    """A payload with the sealed values that the key in the file opens, and how many these are.

    Raises:
        SecretUnavailable: The file cannot be read, or others can read it.
        DecryptionFailed: The key opens none of them.
    """
    opened = 0
    private_key = read_private(key_path).decode().strip()

    def plain(part: object) -> JsonValue:
        nonlocal opened
        if isinstance(part, dict):
            return {str(plain(name)): plain(inner) for name, inner in part.items()}
        if isinstance(part, list):
            return [plain(inner) for inner in part]
        if isinstance(part, str):
            text, count = open_tokens(part, private_key)
            opened += count
            return text
        return part  # type: ignore[return-value]

    return plain(value), opened


def allow_hash(text: str, key_path: Path) -> str:
    """What stands for an exact value in the allow-list of a pack, under the key in the file.

    Raises:
        SecretUnavailable: The file cannot be read, or others can read it.
    """
    return HASH_PREFIX + value_hash(read_private(key_path).strip(), text)
