"""Pictures are there and show something; whether they please, a person must see."""

import numpy as np
import run_folder
from PIL import Image


def test_pictures_are_drawn_and_not_blank(finished_run):
  assert {path.stem for path in (finished_run / 'figures').glob('*.png')} == run_folder.PICTURES
  for name in run_folder.PICTURES:
    with Image.open(finished_run / 'figures' / f'{name}.png') as file:
      pixels = np.asarray(file.convert('L'), float)
    height, width = pixels.shape
    assert min(height, width) > 200
    # Something is drawn in every quarter.
    for half in (pixels[: height // 2], pixels[height // 2 :]):
      assert half[:, : width // 2].std() > 5 and half[:, width // 2 :].std() > 5
