"""Makes the sample pictures beside it, of 50x50 pixels: python docs/photos/make.py.

The digits are those of scikit-learn (E. Alpaydin and C. Kaynak, UCI) that are held out from
training.
"""

import pathlib

import numpy as np
from PIL import Image
from sklearn import datasets

# For each picture the (top, left) corner of each digit.
PLACES = [[], [(12, 16)], [(2, 20)], [(3, 2), (24, 25)], [(20, 0), (1, 24)], [(25, 4), (22, 28)]]


def main():
  """Writes one PNG for each entry of PLACES."""
  images = datasets.load_digits().images
  held_out = np.random.default_rng(0).permutation(len(images))[: len(images) // 5]
  chosen = iter(np.random.default_rng(1).permutation(held_out))
  for number, places in enumerate(PLACES):
    picture = np.zeros((50, 50), np.uint8)
    for top, left in places:
      small = Image.fromarray((images[next(chosen)] * (255 / 16)).astype(np.uint8))
      digit = np.array(small.resize((20, 20), Image.Resampling.BICUBIC))
      digit[digit < 16] = 0
      window = picture[top : top + 20, left : left + 20]
      np.maximum(window, digit, out=window)
    path = pathlib.Path(__file__).with_name(f'scene_{number}.png')
    Image.fromarray(picture).save(path, optimize=True)


if __name__ == '__main__':
  main()
