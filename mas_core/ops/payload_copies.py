"""Reads the sealed copies of payloads that the audit keeps where the policy asks for it."""

from __future__ import annotations

import asyncio
import hashlib

from mas_core.audit.payload_keys import FOLDER_NAME, PayloadKeys
from mas_core.errors import IntegrityError, KeyNotFound, MessageNotFound, SecretUnavailable
from mas_core.ops import audit
from mas_core.ops.audit import StoredRecord
from mas_core.ops.system import System


async def read(system: System, identifier: str, *, subject: str = "") -> tuple[StoredRecord, bytes]:
    """A payload as it was delivered, and its record.

    Args:
        system: The system; the keys of payloads are needed.
        identifier: Id of the message, or number of the record: SEQ or PARTITION:SEQ.
        subject: Whom the payload is about; the sender when left out.

    Raises:
        MessageNotFound: There is no record, or none with a copy.
        KeyNotFound: The key of the subject was destroyed, or the copy is under that of another subject.
        IntegrityError: The copy is not the one that the record names.
        SecretUnavailable: The keys are not at hand.
    """
    system.access.require("open", "to read a payload")
    if system.target.keys_dir is None:
        raise SecretUnavailable("this needs the keys of payloads", hint="run it in the project folder")
    for found in await audit.get(system, identifier):
        sealed = found.record.details.get("sealed")
        if isinstance(sealed, dict) and "key" in sealed:
            break
    else:
        raise MessageNotFound(
            f"no copy of the payload of {identifier} was kept",
            hint="audit: {payloads: {GLOB: POINTER}} in policy.yaml keeps copies",
        )
    record = found.record
    keys = await asyncio.to_thread(PayloadKeys, system.target.keys_dir / FOLDER_NAME)
    key = await asyncio.to_thread(keys.find, subject or record.sender)
    if key is None or key.key_id != sealed["key"]:
        raise KeyNotFound(
            "the copy is not sealed under the key that this subject has now: it is of another one, or was erased",
            hint=f"mas audit payload {identifier} --subject SUBJECT",
        )
    copy = await system.store.records.payload_copy(found.partition, record.seq)
    if copy is None:
        raise MessageNotFound(f"the copy of the payload of {identifier} is not in the store any more")
    if hashlib.sha256(copy).hexdigest() != sealed.get("sha256"):
        raise IntegrityError(f"the copy of the payload of {identifier} is not the one that its record names")
    return found, key.open(copy, record.message_id.encode())
