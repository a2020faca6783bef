"""How the frame around the screens looks; `-ascii` is for terminals that cannot draw lines."""

FRAME_CSS = """
#top { background: $panel; }
#top.-protected { background: $error-darken-1; color: $text; }
#tabs { background: $boost; }
#crumbs { color: $text-muted; }
#hints { background: $panel; }
#filter-line { height: 1; display: none; }
#filter-line Bar { width: 10; }
#filter { height: 1; border: none; padding: 0; }
#filter:focus { border: none; background: $primary 30%; }
ContentSwitcher { height: 1fr; }
.titled { border: round $surface-lighten-2; border-title-color: $text; padding: 0 1; }
.titled:focus-within { border: round $primary; }
.-ascii .titled, .-ascii .titled:focus-within, .-ascii Window > Vertical { border: ascii $foreground; }
.-low #pulse, .-low #pulse:focus-within { border: none; height: 4; }
.-ascii Underline { display: none; }
"""
