"""The parts of matplotlib that figures are made of; where it is missing, its extra is named."""

from air_jax.runtime import extras

with extras.needed('plots', 'drawing figures'):
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure
  from matplotlib.patches import Circle, Polygon, Rectangle
  from matplotlib.patheffects import withStroke

__all__ = ['Axes', 'Circle', 'Figure', 'Polygon', 'Rectangle', 'withStroke']
