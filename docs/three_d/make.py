"""The picture of docs/three_d.md: the same solids, from exact edges to soft ones.

PYTHONPATH=. python docs/three_d/make.py
"""

import pathlib

import numpy as np
from PIL import Image

from air_jax import scene3d

SOFTNESS = 0.0, 0.02, 0.1


def main():
  solids = scene3d.place(
    kinds=['cube', 'sphere', 'cylinder'],
    places=[(-0.35, 0.25), (0.45, -0.3), (0.4, 0.45)],
    rotations=[0.5, 0.0, 0.0],
    sizes=[0.3, 0.24, 0.28],
    colours=[(0.9, 0.4, 0.3), (0.95, 0.85, 0.4), (0.35, 0.6, 0.9)],
  )
  images = [scene3d.render(solids, scene3d.View(192, soft), 0.1) for soft in SOFTNESS]
  pixels = np.round(255 * np.concatenate(images, 1)).astype(np.uint8)
  Image.fromarray(pixels).save(pathlib.Path(__file__).with_name('softness.png'), optimize=True)


if __name__ == '__main__':
  main()
