"""The scenes that each TFDS builder can make: a description and keys of section `data`, by name."""

from typing import Any

# By the rules of the published Multi-dSprites.
_COLOURED = {
  'canvas_size': 64,
  'layout': 'occluding',
  'colour': True,
  'palette': 'uniform',
  'background': 'level',
  'min_objects': 2,
  'max_objects': 5,
  'min_scale': 0.7,
  'max_scale': 1.3,
}
_ON_TABLE = {
  'canvas_size': 64,
  'layout': 'occluding',
  'background': 'dim',
  'max_objects': 3,
  'min_scale': 0.8,
  'max_scale': 1.2,
}
VARIANTS: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
  'mnist': {
    'touching': ('Shrunk by N(1.3, 0.1); ink may touch.', {'layout': 'touching'}),
    'small': ('Digits at half size.', {'min_scale': 0.5, 'max_scale': 0.5}),
    'sizes': ('Digits at 0.4 to 1.3 of their size.', {'min_scale': 0.4, 'max_scale': 1.3}),
    'many': ('0-6 digits on 80x80.', {'canvas_size': 80, 'max_objects': 6}),
    'noise': (
      'With strong noise on each pixel; ink may touch.',
      {'layout': 'touching', 'background': 'dim', 'noise': 0.225},
    ),
    'grid': (
      'Over a grid of bright lines; ink may touch.',
      {'layout': 'touching', 'background': 'grid'},
    ),
    'noisy': ('Over textures, with noise.', {'background': 'texture', 'noise': 0.05}),
  },
  'tetrominoes': {
    'adjacent': (
      'Three in six colours, side by side on 35x35.',
      {
        'canvas_size': 35,
        'layout': 'adjacent',
        'colour': True,
        'min_objects': 3,
        'max_objects': 3,
      },
    ),
  },
  'sprites': {
    'colour': ('In six colours.', {'colour': True}),
    'grey': ('White on black.', {}),
    'occluding': (
      '0-3 in six colours that hide each other.',
      {'colour': True, 'layout': 'occluding', 'max_objects': 3},
    ),
  },
  'dsprites': {
    'disjoint': ('0.7 to 1.3 of 16 pixels.', {'min_scale': 0.7, 'max_scale': 1.3}),
    'coloured_on_grey': ('2-5 of any colour that hide each other, on 64x64.', _COLOURED),
    'coloured_on_coloured': (
      '1-4 of any colour that hide each other, on any colour, on 64x64.',
      {**_COLOURED, 'background': 'colour', 'min_objects': 1, 'max_objects': 4},
    ),
  },
  'table_primitives': {
    'grey': ('White.', _ON_TABLE),
    'colour': ('In six colours.', {**_ON_TABLE, 'colour': True}),
  },
}
