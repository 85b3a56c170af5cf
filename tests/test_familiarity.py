"""What held-out images are like, and which images lie outside."""

import json

import numpy as np
import pytest

from air_jax.evaluation import familiarity
from air_jax.runtime import json_forms

RNG = np.random.default_rng(0)
FEATURES = 12


def held_out(number, seed=0, shift=0.0):
  """(counts, traits, bounds), with traits that depend on the count and on one another."""
  rng = np.random.default_rng(seed)
  counts = rng.integers(0, 3, number)
  traits = rng.normal(size=(number, FEATURES)) @ np.tril(np.ones((FEATURES, FEATURES)))
  return counts, traits + 10 * counts[:, None] + shift, rng.normal(-100 * counts, 5)


def measured(number=3000, areas=(100.0,), peaks=(0.8,), images=None):
  images = np.zeros((4, 8, 8, 1), np.uint8) if images is None else images
  known = held_out(number)
  return familiarity.measure(
    7, *known, images, np.zeros(images.shape, np.float32), np.array(areas), np.array(peaks)
  )


def test_few_of_the_same_distribution_are_unlike_and_all_of_another():
  reference = measured()
  assert (reference.step, reference.images) == (7, 3000)
  assert [group.most for group in reference.groups] == [0, 1, 2]
  share = reference.unlike(*held_out(4000, seed=1)).mean()
  assert 0.5 * familiarity.DISTANT < share < 2 * (familiarity.DISTANT + familiarity.POOR)
  counts, traits, elbo = held_out(200, seed=2)
  assert not reference.unlike(counts, traits, elbo)[:150].all()
  assert reference.unlike(counts, traits + 10 * RNG.choice([-1, 1], traits.shape), elbo).all()
  assert reference.unlike(counts, traits, elbo - 50).all()
  assert reference.unlike((counts + 1) % 3, traits, elbo).all()
  assert reference.unlike(counts, np.nan * traits, elbo).all()
  assert reference.unlike(counts, traits, np.nan * elbo).all()


def test_the_distance_is_that_of_mahalanobis():
  counts, traits, _ = held_out(3000)
  group = measured().groups[1]
  fitted = traits[counts == 1][::2]
  np.testing.assert_allclose(group.mean, fitted.mean(0))
  covariance = np.cov(fitted.T, bias=True) + 0.05**2 * np.eye(FEATURES)
  np.testing.assert_allclose(group.precision @ covariance, np.eye(FEATURES), atol=1e-6)
  others = traits[counts == 1][1::2] - fitted.mean(0)
  distances = (others @ np.linalg.inv(covariance) * others).sum(-1)
  assert np.mean(distances > group.distance) <= familiarity.DISTANT
  assert np.mean(distances >= group.distance) > familiarity.DISTANT - 2 / len(others)


def test_ranks_are_shares_of_lower_bounds():
  reference = measured()
  counts, _, elbo = held_out(3000)
  some = [5, 6, 7, 8]
  ranks = reference.ranks(counts[some], elbo[some])
  for i, rank in zip(some, ranks, strict=True):
    same = elbo[counts == counts[i]]
    assert rank == pytest.approx((same < elbo[i]).mean(), abs=0.05)
  assert reference.ranks(np.array([1, 1, 1]), np.array([-1e9, 1e9, np.nan])).tolist() == [0, 1, 0]


def test_rare_counts_share_a_group():
  assert familiarity._borders(np.repeat([0, 1, 2, 3], [300, 40, 70, 5])) == [0, 3]
  assert familiarity._borders(np.repeat([0, 2], [5, 300])) == [2]
  assert familiarity._borders(np.array([1, 1])) == [1]
  reference = measured(20)
  assert [group.most for group in reference.groups] == [2]
  assert reference.unlike(np.array([9]), np.zeros((1, FEATURES)), np.zeros(1)).shape == (1,)


def test_images_that_are_all_the_same_are_like_themselves():
  counts, traits, elbo = np.zeros(500, int), np.full((500, FEATURES), 3.0), np.full(500, 9.0)
  images = np.zeros((3, 8, 8, 1), np.uint8)
  none = np.array([])
  reference = familiarity.measure(
    1, counts, traits, elbo, images, images.astype(np.float32), none, none
  )
  off = RNG.normal(0, 0.02, traits.shape)
  assert not reference.unlike(counts, traits + off, elbo - 0.5).any()
  assert reference.unlike(counts, traits + 1.0, elbo).all()
  assert reference.area == 1.0 and reference.level == pytest.approx(1 / 255)


def test_a_region_is_as_strong_and_as_large_as_objects_and_rare():
  assert measured(areas=[80.0, 100.0, 300.0]).area == 50.0
  peaks = np.linspace(0.2, 1.2, 11)
  assert measured(peaks=peaks, areas=peaks).level == pytest.approx(0.15)
  images = np.zeros((200, 10, 10, 1), np.uint8)
  images[:5, :6, :10] = 255  # one in forty
  reference = measured(areas=[20.0], peaks=[0.8], images=images)
  assert reference.area == 61.0


def test_traits_are_logarithms_of_energies_and_deviations():
  energies = np.array([[[1.0, 2.0], [3.0, 4.0]]] * 2)
  stds = np.array([[[0.1, 0.3], [0.6, 0.2], [9.0, 9.0]]] * 2)
  traits = familiarity.traits(np.array([2, 0]), energies, stds)
  np.testing.assert_allclose(traits[0], np.log([1, 2, 3, 4, 0.4, 0.2]), atol=1e-4)
  np.testing.assert_allclose(traits[1], [*np.log([1, 2, 3, 4]), 0, 0], atol=1e-4)


def test_json_keeps_a_reference():
  reference = measured()
  known = json.loads(json.dumps(familiarity.to_json(reference)))
  assert not json_forms.mismatch(known, familiarity.ReferenceForm)
  again = familiarity.from_json(known | {'of_tomorrow': 1})
  data = held_out(2000, seed=3)
  assert (again.unlike(*data) == reference.unlike(*data)).mean() > 0.999
  assert again._replace(groups=()) == reference._replace(groups=())
  for damage in ({'groups': []}, {'groups': [known['groups'][0] | {'mean': [1.0]}]}):
    with pytest.raises(ValueError, match='incomplete'):
      familiarity.from_json(known | damage)
