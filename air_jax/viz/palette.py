"""Colour and line pattern of each inference step, so that neither colour vision nor print matters.

The colours are those of Okabe and Ito (2008), ordered so that the first few stand out on black and
differ in lightness, too. Lines on images have a dark margin, for bright images. Text is never
coloured: a mark beside it is.
"""

VERMILLION, SKY_BLUE, GREEN, ORANGE = '#d55e00', '#56b4e9', '#009e73', '#e69f00'
PURPLE, BLUE, YELLOW = '#cc79a7', '#0072b2', '#f0e442'
COLOURS = VERMILLION, SKY_BLUE, YELLOW, GREEN, PURPLE, ORANGE, BLUE
LINE_COLOURS = BLUE, VERMILLION, GREEN, PURPLE  # contrast 3 : 1 on white and on a dark page
# Lengths of dashes and of the gaps after them, in line widths; () is a solid line.
PATTERNS: tuple[tuple[float, ...], ...] = (), (4, 2), (1.2, 1.2), (6, 1.5, 1.2, 1.5), (8, 3)
MARKERS = 'o', 's', '^', 'D', 'v', 'P', 'X'  # matplotlib's names
CASING = '#0a0a0a'  # around lines on images, which may be bright; reports recolour pure black
GREY = '#595959'  # of text on white, contrast 7 : 1


def colour(step: int) -> str:
  """The colour of inference step `step`, from 0, as '#rrggbb'."""
  return COLOURS[step % len(COLOURS)]


def line_colour(i: int) -> str:
  """The colour of curve `i`, from 0, as '#rrggbb': curves are on white or on a dark page."""
  return LINE_COLOURS[i % len(LINE_COLOURS)]


def pattern(step: int) -> tuple[float, ...]:
  """The dashes of inference step `step`, from 0; () is a solid line."""
  return PATTERNS[step % len(PATTERNS)]


def line_style(step: int) -> tuple[float, tuple[float, ...] | None]:
  """The pattern of inference step `step` as matplotlib's `linestyle`."""
  return 0, pattern(step) or None
