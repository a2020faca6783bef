"""Detectors for tests: one that finds names, and ones that fail in every way."""

import os
import re
import time

from mas_core.security.dlp.detectors import Detection


class Names:
    """Finds Jane, by name; dies, hangs or talks nonsense when a text says so."""

    name = "double"
    kinds = ("person",)

    def detect(self, texts):
        if any("crash" in text for text in texts):
            os._exit(1)
        if any("hang" in text for text in texts):
            time.sleep(60)
        if any("nonsense" in text for text in texts):
            return []
        if any("outside" in text for text in texts):
            return [[Detection("person", 0, 999)] for _ in texts]
        print("a library that prints")  # noqa: T201
        return [
            [Detection("person", *found.span()) for found in re.finditer("Jane Doe", text)] for text in texts
        ]
