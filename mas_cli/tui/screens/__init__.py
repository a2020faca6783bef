"""One module for each screen."""

from __future__ import annotations

from mas_cli.tui.pane import Pane
from mas_cli.tui.screens.agents import Agents
from mas_cli.tui.screens.audit import Audit
from mas_cli.tui.screens.dead import Dead
from mas_cli.tui.screens.live import Live
from mas_cli.tui.screens.overview import Overview
from mas_cli.tui.screens.queues import Queues
from mas_cli.tui.screens.rules import Rules
from mas_cli.tui.screens.tasks import Tasks
from mas_cli.tui.screens.trace import Trace

PANES: tuple[type[Pane], ...] = (Overview, Live, Agents, Queues, Dead, Rules, Audit, Tasks, Trace)
"""In the order of their numbers."""
