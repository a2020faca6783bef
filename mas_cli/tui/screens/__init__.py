"""One module for each screen."""

from __future__ import annotations

from mas_cli.tui.pane import Pane
from mas_cli.tui.screens.agents import Agents
from mas_cli.tui.screens.live import Live
from mas_cli.tui.screens.overview import Overview

PANES: tuple[type[Pane], ...] = (Overview, Live, Agents)
"""In the order of their numbers."""
