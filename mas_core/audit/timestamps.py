"""Time stamps of checkpoints by an authority with a clock of its own (RFC 3161); needs the extra `timestamp`.

The stamp of a checkpoint is `p<P>/timestamps/<size>.tsr`, over the exact bytes of its note, beside it as
`<size>.note`; `openssl ts -verify -in <size>.tsr -data <size>.note -CAfile CA` checks it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mas_core.audit.checkpoint import Checkpoint
from mas_core.audit.evidence_writer import partition_folder
from mas_core.audit.note import Note
from mas_core.audit.witnesses import Aside, Undelivered, Witness, post
from mas_core.settings.private_files import private_dir, write_private

if TYPE_CHECKING:
    from rfc3161_client import TimeStampRequest

FOLDER_NAME: Final = "timestamps"
TIMEOUT_S: Final = 30.0


class Stamper(Witness):
    """Has the checkpoints of each partition stamped, at most one in a while.

    Args:
        folder: The evidence folder.
        url: The authority.
        every_s: Seconds between two stamped checkpoints of a partition.
    """

    def __init__(self, folder: Path, url: str, every_s: float) -> None:
        super().__init__(f"time stamps by {urlsplit(url).hostname}", self._stamp, TIMEOUT_S)
        self._folder = folder
        self._url = url
        self._every_s = every_s
        self._aside = Aside()
        self._due: dict[int, float] = {}

    def offer(self, partition: int, note: bytes) -> None:
        """Have it stamped, if the last one of the partition was long enough ago."""
        now = asyncio.get_running_loop().time()
        if now >= self._due.get(partition, now):
            self._due[partition] = now + self._every_s
            super().offer(partition, note)

    async def _stamp(self, partition: int, note: bytes) -> None:
        await self._aside.run(lambda: self._fetch(partition, note))

    def _fetch(self, partition: int, note: bytes) -> None:
        try:
            from rfc3161_client import HashAlgorithm, TimestampRequestBuilder  # noqa: PLC0415 - an extra
        except ImportError:
            raise Undelivered("it needs the extra: pip install 'mas[timestamp]'") from None
        builder = TimestampRequestBuilder().data(note).hash_algorithm(HashAlgorithm.SHA256)
        request = builder.nonce(nonce=True).cert_request(cert_request=True).build()
        answer = post(self._url, request.as_bytes(), "application/timestamp-query", TIMEOUT_S)
        _check(request, answer)
        size = Checkpoint.parse(Note.parse(note).text).size
        folder = private_dir(partition_folder(self._folder, partition) / FOLDER_NAME)
        write_private(folder / f"{size}.note", note)
        write_private(folder / f"{size}.tsr", answer)


def _check(request: TimeStampRequest, answer: bytes) -> None:
    """Whether the stamp is of what was asked for; who signed it is for those to check who trust somebody."""
    from rfc3161_client import PKIStatus, decode_timestamp_response  # noqa: PLC0415 - an extra

    try:
        response: Any = decode_timestamp_response(answer)
        status = PKIStatus(response.status)
        granted = status in (PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS)
        stamp = response.tst_info if granted else None
    except ValueError:
        raise Undelivered("its answer is no time stamp") from None
    if stamp is None:
        raise Undelivered(f"it refused: {status.name.lower()}")
    if stamp.nonce != request.nonce or stamp.message_imprint.message != request.message_imprint.message:
        raise Undelivered("its time stamp is of something else")
