"""A folder of somebody's images, and what is loaded of it."""

import numpy as np
import samples
from PIL import Image

from air_jax.data import image_folder

TRAIN_NAME, TEST_NAME = 'a.png', '0.png'  # which split a name falls to never changes


def config_of(path, **changes):
  fields = {'source': 'folder', 'dir': str(path), 'fit': 'squash', 'canvas_size': 2}
  return samples.data_config(**(fields | changes))


def save(array, path, **options):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.asarray(array)).save(path, **options)


def save_named(path, names):
  """One-pixel images of grey 10, 20, ... which tell where each went."""
  for k, name in enumerate(names):
    save(np.full((1, 1), 10 * (k + 1), np.uint8), path / name)


def greys(scenes):
  assert (scenes.images == scenes.images[:, :1, :1]).all()
  return scenes.images[:, 0, 0, 0].tolist()


def only(path, **changes):
  """The one training image of a folder, [S, S, C]."""
  (image,) = image_folder.load(config_of(path, **changes), 'train').images
  return image
