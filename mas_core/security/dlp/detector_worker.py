"""The process of a detector: `python -m mas_core.security.dlp.detector_worker MODULE:NAME`.

Writes a line with its name and kinds, then for each line with texts a line with what was found.
"""

from __future__ import annotations

import importlib
import os
import sys

import msgspec

from mas_core.security.dlp.detectors import Detector

_INPUT, _OUTPUT, _ERRORS = 0, 1, 2


def main() -> None:
    """Serve until standard input ends."""
    module, _, name = sys.argv[1].partition(":")
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(_OUTPUT), "wb")
    os.dup2(_ERRORS, _OUTPUT)
    detector: Detector = getattr(importlib.import_module(module), name)()
    answers.write(msgspec.json.encode((detector.name, list(detector.kinds))) + b"\n")
    answers.flush()
    for line in os.fdopen(_INPUT, "rb"):
        texts = msgspec.json.decode(line, type=list[str])
        answers.write(msgspec.json.encode(detector.detect(texts)) + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
