"""Figures exist and show what they are given; text and lines can be read by everyone."""

import io
import itertools
import pathlib
import re

import jax
import numpy as np
import pytest
import run_folder
from PIL import Image

from air_jax import inference
from air_jax.evaluation import metrics
from air_jax.types import LabelledScenes, Latents, Rollout
from air_jax.viz import figures, palette, pillow_grid, plots


def test_figures_are_drawn_and_not_blank(finished_run):
  assert {path.stem for path in (finished_run / 'figures').glob('*.png')} == run_folder.PICTURES
  for name in run_folder.PICTURES:
    with Image.open(finished_run / 'figures' / f'{name}.png') as file:
      pixels = np.asarray(file.convert('L'), float)
    height, width = pixels.shape
    assert min(height, width) > 200
    # No quarter is empty.
    for half in (pixels[: height // 2], pixels[height // 2 :]):
      assert half[:, : width // 2].std() > 5 and half[:, width // 2 :].std() > 5


def _grid_of(images, counts=(0, 0), found=(0, 0)):
  """The figure of reconstructions of scenes whose canvas after step t is t times the image."""
  canvases = np.arange(3)[:, None, None, None] * images[:, None]
  rolled = Rollout(*len(Rollout._fields) * (None,))._replace(
    presence_logits=np.zeros((len(images), 2)), canvases=canvases, crops=canvases[:, :2]
  )
  where = np.zeros((len(images), 2, 3))
  latents = Latents(where, None, np.array(found), None)
  return figures.reconstructions(images, np.array(counts), latents, rolled)


def _reconstructions(images, counts, found):
  """The images and the texts of such a figure."""
  (axes,) = _grid_of(images, counts, found).axes
  return [np.asarray(shown.get_array()) for shown in axes.images], [
    text.get_text() for text in axes.texts
  ]


def test_reconstructions_show_colours_and_clip_values_above_one():
  images = np.asarray(jax.random.uniform(jax.random.key(0), (1, 7, 7, 3)))
  shown, texts = _reconstructions(images, [2], [2])
  bright = np.minimum(2 * images[0], 1)
  expected = images[0], 0 * images[0], images[0], images[0], bright  # crops are 0 and the image
  for ours, theirs in zip(shown, expected, strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
  assert 'true 2, found 2' in texts


def test_reconstructions_mark_unknown_counts_and_absent_objects():
  images = np.asarray(jax.random.uniform(jax.random.key(0), (2, 7, 7, 1)))
  shown, texts = _reconstructions(images, [-1, 0], [1, 0])
  np.testing.assert_allclose(shown[0], images[0, ..., 0])
  assert 'true ?, found 1' in texts and texts.count('none, p = 0.25') == 1
  # The other scene is empty, and no scene has a second object.
  assert not {'true 0, found 0', 'unchanged', 'canvas, t = 2'} & {*texts}
  assert {'canvas, t = 1', 'crop, t = 1', 'crop, t = 2'} <= {*texts} and len(shown) == 4


def test_the_crop_of_a_step_that_finds_nothing_is_shown_without_an_outline():
  images = np.asarray(jax.random.uniform(jax.random.key(0), (2, 7, 7, 1)))
  grid = _grid_of(images, [1, 2], [0, 2])
  (axes,) = grid.axes
  assert len(axes.images) == 2 * 3 + 2  # inputs and crops; canvases where an object is found
  assert len(axes.patches) == 2 * 3  # of the second scene: on input, canvas and crop
  texts = [text.get_text() for text in axes.texts]
  assert texts.count('unchanged') == 2 and sum('none, p' in text for text in texts) == 2


def test_grids_have_no_empty_rows_or_columns():
  few = np.zeros((3, 7, 7, 1))
  for figure in (figures.samples(few), _grid_of(few[:2])):
    (axes,) = figure.axes
    right = max(shown.get_extent()[1] for shown in axes.images)
    bottom = max(shown.get_extent()[2] for shown in axes.images)
    assert axes.get_xlim()[1] < right + 0.5 and axes.get_ylim()[0] < bottom + 0.5
  windows = np.zeros((4, 3, 3))
  for counts, panels in (([0, 2, 1, 2], 2), ([0, 0, 0, 0], 1)):
    shown = figures.attention(windows, np.array(counts), 8)
    assert len(shown.axes) == panels + 1  # and the scale


def test_outlines_are_seen_on_white():
  grid = _grid_of(np.ones((1, 7, 7, 1)), [1], [1])
  assert all(patch.get_path_effects() for patch in grid.axes[0].patches)
  image = Image.new('RGB', (60, 50), 'white')
  pillow_grid.outline(image, (10, 20, 30, 35), 1)
  assert image.getpixel((20, 9)) == (0, 0, 0) == image.getpixel((19, 10))


def test_training_is_drawn_where_counts_are_unknown():
  lines = [
    {'step': step, 'split': split, 'elbo': -step} for step in (5, 10) for split in ('train', 'test')
  ]
  for known in (False, True):
    accuracy, elbo = plots.training(
      [line | ({'count_accuracy': 0.5} if known else {}) for line in lines]
    ).axes
    assert len(elbo.lines) == 2 and len(accuracy.lines) == 2 * known
    np.testing.assert_array_equal(elbo.lines[0].get_xydata(), [(5, -5), (10, -10)])
    assert [text.get_text() for text in accuracy.texts] == (not known) * ['no values recorded']


def _accuracies(values):
  return [
    {'step': i, 'split': 'test', 'elbo': 1.0, 'count_accuracy': x} for i, x in enumerate(values)
  ]


def test_learning_is_shown_as_the_share_miscounted_beside_that_of_chance():
  records = _accuracies([0.25, 0.75, 0.998])
  for figure in (plots.training(records, 2 / 3), plots.population([records], chance=2 / 3)):
    axis = figure.axes[0]
    learned, chance = axis.lines
    np.testing.assert_allclose(learned.get_ydata(), [0.75, 0.25, 0.002])
    np.testing.assert_allclose(chance.get_ydata(), 2 / 3)
    assert chance.get_label() == 'always the commonest count'
    assert axis.get_yscale() == 'log' and axis.get_ylabel().endswith('scenes miscounted')
    low, high = axis.get_ylim()
    assert low < 0.002 and 0.75 < high <= 1.2
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert {'0.2 %', '10 %', '100 %'} <= {*labels} and '0 %' not in labels


def test_no_scene_miscounted_is_drawn_at_the_tick_of_zero():
  axis = plots.training(_accuracies([0.5, 1.0])).axes[0]
  (learned,) = axis.lines
  ticks = dict(zip((t.get_text() for t in axis.get_yticklabels()), axis.get_yticks(), strict=True))
  np.testing.assert_allclose(learned.get_ydata(), [0.5, ticks['0 %']])
  assert axis.get_ylim()[0] < ticks['0 %'] < min(ticks[name] for name in ticks if name != '0 %')


@pytest.mark.parametrize('least', [0.3, 0.02, 0.0007, 0.00003])
def test_every_share_is_within_the_axis_which_has_labels(least):
  axis = plots.training(_accuracies([0.2, 1 - least]), 0.6).axes[0]
  low, high = axis.get_ylim()
  assert low < least and high > 0.8
  within = [tick for tick in axis.get_yticks() if low <= tick <= high]
  assert 2 <= len(within) <= 10


@pytest.mark.parametrize('values', [[1.0, 1.0], [0.0], [float('nan'), 0.9], [1e308, -1e308]])
def test_odd_accuracies_are_drawn(values):
  figure = plots.training(_accuracies(values), chance=0.0)
  figure.savefig(io.BytesIO(), format='png')
  assert np.isfinite(figure.axes[0].get_ylim()).all()


def test_a_reliability_diagram_has_the_bins_and_their_intervals():
  found = metrics.calibration([0.1, 0.5, 0.95, 0.99, 1.0], [False, True, True, True, False])
  figure = plots.reliability(found)
  shares, numbers = figure.axes
  (_, points, *_), drawn = shares.lines, shares.containers[0]
  np.testing.assert_allclose(points.get_xydata(), [(0.1, 0), (0.5, 1), (2.94 / 3, 2 / 3)])
  low, high = drawn[1][0].get_ydata(), drawn[1][1].get_ydata()
  np.testing.assert_allclose((low[2], high[2]), metrics.wilson_interval(2, 3))
  assert [bar.get_height() for bar in numbers.patches if bar.get_height()] == [1, 1, 3]
  figure.savefig(io.BytesIO(), format='png')
  plots.reliability(metrics.calibration([], [])).savefig(io.BytesIO(), format='png')


def test_gallery_has_each_count_in_turn_with_its_boxes():
  counts, images = np.array([0, 2, 2, 1, -1]), np.zeros((5, 8, 8, 1), np.uint8)
  images += np.array([[50 * n] for n in range(5)], np.uint8)[..., None, None]
  boxes = np.zeros((5, 2, 4), np.float32)
  boxes[1:4] = (1, 2, 4, 6), (2, 0, 2, 2)
  (axes,) = figures.gallery(LabelledScenes(images, counts, boxes, *(None for _ in range(5)))).axes
  shown = [shown.get_array().max() * 255 for shown in axes.images]
  np.testing.assert_allclose(shown, [200, 0, 150, 50, 100], atol=1e-3)
  texts = [text.get_text() for text in axes.texts]
  assert texts == ['count unknown', '0 objects', '1 object', '2 objects', '2 objects']
  sizes = [(box.get_height(), box.get_width()) for box in axes.patches]
  large, small = (4 / 8, 6 / 8), (2 / 8, 2 / 8)
  np.testing.assert_allclose(sizes, [large, large, small, large, small])
  left, _, _, top = axes.images[2].get_extent()
  assert axes.patches[0].get_xy() == pytest.approx((left + 2 / 8, top + 1 / 8))


def _luminance(colour):
  """Relative luminance by WCAG 2.1 of '#rrggbb'."""
  channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
  linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
  return linear @ (0.2126, 0.7152, 0.0722)


def _contrast(a, b):
  low, high = sorted((_luminance(a), _luminance(b)))
  return (high + 0.05) / (low + 0.05)


def test_colours_stand_out_on_black_and_grey_text_on_white():
  assert all(_contrast(colour, '#000000') >= 3 for colour in palette.COLOURS)
  assert _contrast(palette.GREY, '#ffffff') >= 4.5
  assert (
    min(_contrast(c, page) for c in palette.LINE_COLOURS for page in ('#ffffff', '#14171a')) >= 3
  )


def _themes(page):
  """The colours of a page by their names, for light screens, then for dark ones."""
  text = (pathlib.Path(inference.__file__).parent / page).read_text()
  light, dark = (
    dict(re.findall(r'--([a-z]+): ([^;]+);', block))
    for block in re.findall(r':root {([^}]+)}', text)[:2]
  )
  errors = re.findall(r'#trouble {[^}]*color: (#[0-9a-f]{6})', text)
  for theme, error in zip((light, dark), errors, strict=False):
    theme['error'] = error
  return [
    {name: re.sub('^#(.)(.)(.)$', r'#\1\1\2\2\3\3', value) for name, value in theme.items()}
    for theme in (light, dark)
  ]


@pytest.mark.parametrize('page', ['report/page.html', 'demo/page.html'])
@pytest.mark.parametrize('dark', [False, True])
def test_text_of_pages_has_contrast(page, dark):
  theme = _themes(page)[dark]
  texts = [theme[name] for name in ('text', 'soft', 'error') if name in theme]
  for text, behind in itertools.product(texts, (theme['page'], theme['tile'])):
    assert _contrast(text, behind) >= 4.5
  if 'accent' in theme:
    assert _contrast(theme['accent'], theme['page']) >= 3  # bars, and what has the focus
  if 'heat' in theme:  # of a table's cells, over the page, at most half
    heat = np.array([int(x) for x in theme['heat'].split()])
    under = np.array([int(theme['page'][i : i + 2], 16) for i in (1, 3, 5)])
    for share in np.linspace(0, 0.5, 11):
      cell = np.round(share * heat + (1 - share) * under).astype(int)
      assert _contrast(theme['text'], '#' + ''.join(f'{x:02x}' for x in cell)) >= 4.5


def test_steps_differ_in_colour_and_in_pattern():
  for t in range(len(palette.PATTERNS) - 1):
    assert palette.pattern(t) != palette.pattern(t + 1) and palette.colour(t) != palette.colour(
      t + 1
    )
  styles = {(palette.colour(t), palette.pattern(t)) for t in range(35)}
  assert len(styles) == 35


def test_text_is_black_and_large_enough():
  images = np.zeros((2, 7, 7, 1))
  grid = _grid_of(images)
  records = [{'step': 5, 'split': 'test', 'elbo': 1.0}]
  figure = plots.population([records, records])
  (legend,) = figure.legends
  for text in (*grid.axes[0].texts, *legend.get_texts()):
    assert text.get_color() == 'black' and text.get_fontsize() * 110 / 72 >= 9


@pytest.mark.parametrize('step', [0, 1, 2, 3])
def test_outlines_follow_the_box_and_the_pattern(step):
  image = Image.new('RGB', (60, 50))
  pillow_grid.outline(image, (10, 20, 30, 35), step)
  pixels = np.asarray(image)
  drawn = (pixels == [int(palette.colour(step)[i : i + 2], 16) for i in (1, 3, 5)]).all(-1)
  assert (drawn == pixels.any(-1)).all()
  rows, columns = np.nonzero(drawn)
  assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 40, 20, 55)
  assert not drawn[13:38, 23:53].any()
  dashes = np.count_nonzero(np.diff(drawn[10, 20:56].astype(int)) == 1) + 1
  lengths = np.array(palette.pattern(step)) * 2
  expected = np.ceil(36 / lengths.sum()) * len(lengths) / 2 if step else 1
  assert abs(dashes - expected) <= 1
