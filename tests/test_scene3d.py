"""The renderer, against rays that are followed step by step, and its derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from air_jax import scene3d
from air_jax.errors import UserError
from air_jax.scene3d import camera
from air_jax.scene3d.render import foot_radius
from air_jax.scene3d.solids import KINDS

SIZE = 32  # pixels
EXACT, SOFT = scene3d.View(SIZE, 0.0), scene3d.View(SIZE, 0.03)
TABLE = 0.1


@functools.partial(jax.jit, static_argnums=1)
def render(solids, view=EXACT, present=None):
  return scene3d.render(solids, view, TABLE, present)


def random_solids(seed, count=3, apart=True):
  """Solids at random places, apart from each other where asked for."""
  rng = np.random.default_rng(seed)
  kinds = rng.integers(len(KINDS), size=count)
  sizes = rng.uniform(0.15, 0.35, count)
  radii = np.asarray(foot_radius(kinds, sizes))
  while True:
    places = rng.uniform(-1, 1, (count, 2))
    distances = np.hypot(*(places[:, None] - places).T) + 9 * np.eye(count)
    if not apart or (distances > radii + radii[:, None]).all():
      break
  colours = rng.uniform(0.5, 1, (count, 1))
  return scene3d.Solids(
    jnp.asarray(kinds),
    *(jnp.float32(x) for x in (places, rng.uniform(-4, 4, count), sizes, colours)),
  )


def one(kind, where=(0.1, -0.2), rotation=0.3, size=0.3):
  return scene3d.place([kind], [where], [rotation], [size], [[1.0]])


# --- the reference: rays followed in steps of the distance to the nearest surface -----------------


def distance(kind, p):
  """From points [..., 3] to the surface of a solid of size 1 around 0, negative inside."""
  if kind == 'sphere':
    return np.linalg.norm(p, axis=-1) - 1
  if kind == 'cylinder':
    beyond = np.stack([np.hypot(p[..., 0], p[..., 1]) - 1, np.abs(p[..., 2]) - 1], -1)
  else:
    beyond = np.abs(p) - 1
  return np.linalg.norm(np.maximum(beyond, 0), axis=-1) + np.minimum(beyond.max(-1), 0)


def distances(solids, p):
  """[N, ...] from points in space to the surface of each solid."""
  found = []
  for kind, (x, y), turn, size, _ in zip(*map(np.float64, solids), strict=True):
    to_solid = np.array(
      [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    )
    found.append(size * distance(KINDS[int(kind)], (p - [x, y, size]) @ to_solid / size))
  return np.array(found)


def follow(solids, size=SIZE):
  """The picture of some solids, by sphere tracing (Hart, 1996), and where an edge may be."""
  eye = np.array(camera.CAMERA)
  forward = camera.TARGET - eye
  right, up = np.array([forward[1], -forward[0], 0]), None
  up = np.cross(right, forward)
  forward, right, up = (v / np.linalg.norm(v) for v in (forward, right, up))
  steps = np.tan(camera.ANGLE / 2) * (np.arange(size) - size / 2 + 0.5) / (size / 2)
  u, v = np.meshgrid(steps, -steps)
  rays = forward + u[..., None] * right + v[..., None] * up
  rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
  travelled, least = np.zeros((size, size)), np.full((size, size), np.inf)
  for _ in range(150):
    away = distances(solids, eye + travelled[..., None] * rays).min(0)
    least, travelled = np.minimum(least, away), travelled + away
  hit = least < 1e-4
  points = eye + travelled[..., None] * rays
  which = distances(solids, points).argmin(0)
  normals = (
    np.stack(
      [
        np.take_along_axis(
          distances(solids, points + step) - distances(solids, points - step), which[None], 0
        )[0]
        for step in 1e-4 * np.eye(3)
      ],
      -1,
    )
    / 2e-4
  )
  light = camera.AMBIENT + (1 - camera.AMBIENT) * np.maximum(normals @ camera.LIGHT, 0)
  colours = np.float64(solids.colours)
  return np.where(hit[..., None], light[..., None] * colours[which], TABLE)


@pytest.mark.parametrize('seed', range(4))
def test_pictures_are_those_of_rays_followed_step_by_step(seed):
  solids = random_solids(seed)
  expected, made = follow(solids), render(solids)
  wrong = np.abs(made - expected) > 2e-3
  assert (expected != TABLE).mean() > 0.05
  assert wrong.mean() < 0.004  # pixels whose middle an edge passes, or that graze a side


@pytest.mark.parametrize('kind', KINDS)
def test_each_kind_is_that_of_the_reference_at_every_turn(kind):
  for turn in np.linspace(0, 1.6, 5):
    solids = one(kind, rotation=turn)
    assert (np.abs(render(solids) - follow(solids)) > 2e-3).mean() < 0.004


def test_all_kinds_at_once_are_those_one_by_one():
  pose = jnp.float32([0.2, -0.1]), jnp.float32(0.4), jnp.float32(0.3)
  every = scene3d.cast_each(*pose, SOFT)
  for kind in range(len(KINDS)):
    alone = scene3d.cast(jnp.array(kind), *pose, SOFT)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), every[kind], alone)


# --- what is seen ---------------------------------------------------------------------------------


def test_the_nearer_solid_hides_the_other_whatever_their_order():
  far = one('cube', (0.0, 0.5), size=0.2)
  near = one('cylinder', (0.0, -0.3), size=0.35)
  both = jax.tree.map(lambda *x: jnp.concatenate(x), far, near)
  turned = jax.tree.map(lambda x: x[::-1], both)
  np.testing.assert_allclose(render(both), render(turned), atol=1e-5)
  shown = np.asarray(render(near)) != TABLE
  seen, expected = (np.asarray(render(each))[shown] for each in (both, near))
  np.testing.assert_allclose(seen, expected, atol=1e-5)
  hidden = shown & (np.asarray(render(far)) != TABLE)
  assert hidden.sum() > 10


def test_absent_solids_are_not_seen_and_half_of_one_is_half_seen():
  solids = random_solids(5)
  without = render(jax.tree.map(lambda x: x[1:], solids))
  np.testing.assert_allclose(render(solids, EXACT, jnp.array([0.0, 1.0, 1.0])), without, atol=1e-6)
  alone = one('sphere')
  half = render(alone, SOFT, jnp.array([0.5]))
  np.testing.assert_allclose(half, (render(alone, SOFT) + TABLE) / 2, atol=1e-6)


def test_what_is_visible_adds_up_to_the_picture():
  solids = random_solids(7)
  layers = jax.vmap(lambda *solid: scene3d.cast(*solid, SOFT))(*solids[:4])
  shares = scene3d.visible(layers.coverage, scene3d.back_to_front(solids))
  own = layers.brightness * solids.colours[:, :, None]
  made = (shares * own).sum(0) + (1 - shares.sum(0)) * TABLE
  np.testing.assert_allclose(made, render(solids, SOFT)[..., 0], atol=1e-5)


@pytest.mark.parametrize('view', [EXACT, SOFT])
def test_symmetric_solids_look_the_same_when_turned(view):
  for kind, angle in (('cube', np.pi / 2), ('cube', np.pi), ('sphere', 1.0), ('cylinder', 1.0)):
    before, after = (render(one(kind, rotation=turn), view) for turn in (0.3, 0.3 + angle))
    assert (np.abs(before - after) > 1e-3).mean() < 0.002
  before, after = (render(one('cube', rotation=turn), view) for turn in (0.3, 0.3 + np.pi / 4))
  assert (np.abs(before - after) > 1e-2).mean() > 0.02


def test_a_scene_mirrored_under_a_light_from_the_middle_is_the_mirrored_picture():
  """Shapes only: the light comes from the left."""
  for kind in KINDS:
    right, left = one(kind, (0.4, 0.1), 0.3), one(kind, (-0.4, 0.1), -0.3)
    right, left = (np.asarray(render(each)) != TABLE for each in (right, left))
    assert (right != left[:, ::-1]).mean() < 0.002


def test_less_softness_comes_closer_to_the_exact_picture():
  for seed in range(3):
    solids = random_solids(seed)
    exact = render(solids)
    away = [
      float(np.abs(render(solids, scene3d.View(SIZE, softness)) - exact).mean())
      for softness in (0.1, 0.03, 0.01, 1e-3, 1e-5)
    ]
    assert away == sorted(away, reverse=True) and away[0] > 0.01 and away[-1] < 2e-4


# --- derivatives ----------------------------------------------------------------------------------


def weighted(pose, solids, weights, view=SOFT):
  """A number that depends on every pixel."""
  solids = solids._replace(**pose)
  return (weights * scene3d.render(solids, view, TABLE)).sum()


def pose_of(solids):
  names = 'places', 'rotations', 'sizes', 'colours'
  return {name: getattr(solids, name) for name in names}


@pytest.mark.parametrize('kind', KINDS)
def test_gradients_are_those_of_differences(kind):
  weights = jnp.asarray(np.random.default_rng(0).normal(size=(SIZE, SIZE, 1)))
  with jax.enable_x64(True):
    for seed in range(2):
      solids = random_solids(seed)._replace(kinds=jnp.full(3, KINDS.index(kind)))
      pose = jax.tree.map(lambda x: x.astype(jnp.float64), pose_of(solids))
      value = jax.jit(weighted)
      exact = jax.jit(jax.grad(weighted))(pose, solids, weights)
      for name, array in pose.items():
        for at in np.ndindex(array.shape):
          above, below = (
            value({**pose, name: array.at[at].add(step)}, solids, weights) for step in (1e-6, -1e-6)
          )
          difference = (above - below) / 2e-6
          np.testing.assert_allclose(exact[name][at], difference, rtol=1e-3, atol=2e-2)


@pytest.mark.parametrize('kind', [*map(jnp.array, range(len(KINDS))), None])
def test_gradients_by_differences_are_those_of_pictures(kind):
  """Of exact edges, which have no derivative; kind None: of all kinds at once."""
  view = scene3d.View(SIZE, 0.0, difference=0.1)
  weights = np.random.default_rng(0).normal(size=(3, SIZE, SIZE)).astype(np.float32)

  @jax.jit
  def value(pose):
    place, rotation, size = pose[:2], pose[2], pose[3]
    if kind is None:
      layers = scene3d.cast_each(place, rotation, size, view)
    else:
      layers = (scene3d.cast(kind, place, rotation, size, view),)
    return sum((w * each.coverage).sum() for w, each in zip(weights, layers, strict=False))

  pose = jnp.float32([0.1, -0.2, 0.3, 0.25])
  steps = 0.1 * np.eye(4, dtype=np.float32)
  expected = [(value(pose + step) - value(pose - step)) / 0.2 for step in steps]
  np.testing.assert_allclose(jax.grad(value)(pose), expected, rtol=1e-3, atol=1e-2)


def test_gradients_are_finite_also_of_odd_scenes():
  """In rows with the axes, in the same place, off the table and very small or large."""
  odd = [
    random_solids(0, apart=False),
    random_solids(1)._replace(rotations=jnp.zeros(3), places=jnp.zeros((3, 2))),
    random_solids(2)._replace(rotations=jnp.full(3, np.pi / 2)),
    random_solids(3)._replace(places=jnp.full((3, 2), 5.0)),
    random_solids(4)._replace(sizes=jnp.float32([1e-4, 0.01, 1.4])),
  ]
  each = [solids._replace(kinds=jnp.full(3, kind)) for solids in odd for kind in range(len(KINDS))]
  scenes, ones = jax.tree.map(lambda *x: jnp.stack(x), *each), jnp.ones((SIZE, SIZE, 1))
  for view in (SOFT, EXACT):

    def gradient(scene, view=view):
      return jax.grad(weighted)(pose_of(scene), scene, ones, view)

    found = jax.jit(jax.vmap(gradient))(scenes)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize('kind', KINDS)
def test_a_solid_finds_its_place_by_descent(kind):
  """From a place that is more than a radius from the right one."""
  goal = one(kind, (0.3, 0.2), 0.3, 0.25)
  view = scene3d.View(SIZE, 0.1)
  target = render(goal, view)

  @jax.jit
  def step(places):
    def loss(places):
      return ((render(goal._replace(places=places), view) - target) ** 2).sum()

    gradient = jax.grad(loss)(places)
    return places - 0.02 * gradient / (1e-3 + jnp.linalg.norm(gradient))

  places = jnp.float32([[0.02, 0.0]])
  for _ in range(100):
    places = step(places)
  np.testing.assert_allclose(places, goal.places, atol=0.03)


# --- refused --------------------------------------------------------------------------------------

GOOD = {
  'kinds': ['cube', 'sphere'],
  'places': [(0.5, 0.0), (-0.5, 0.0)],
  'rotations': [0.0, 0.0],
  'sizes': [0.3, 0.2],
  'colours': [[1.0], [0.5]],
}


@pytest.mark.parametrize(
  ('change', 'says'),
  [
    ({'kinds': ['cube', 'teapot']}, "'teapot' is no kind of solid; known are cube, sphere"),
    ({'places': [(0.5, 0.0), (-0.9, 0.0)]}, r'a sphere of size 0.2 at \(-0.9, 0\) does not fit'),
    ({'places': [(0.6, 0.0), (-0.5, 0.0)]}, r'a cube of size 0.3 at \(0.6, 0\) does not fit'),
    ({'places': [(0.5, 0.0)]}, r'places has shape \[1, 2\]; it must be \[2, 2\]'),
    ({'colours': [[1.0, 0.0]] * 2}, r'colours has shape \[2, 2\]; it must be \[2, 1\] or \[2, 3\]'),
    ({'sizes': [0.3, 0.0]}, r'sizes holds 0.0; it must hold numbers > 0'),
    ({'rotations': [0.3, np.nan]}, 'rotations holds nan; it must hold finite numbers'),
    ({'colours': [[1.0], [1.5]]}, r'colours holds values outside \[0, 1\]'),
  ],
)
def test_solids_that_cannot_be_are_refused(change, says):
  scene3d.place(**GOOD)
  with pytest.raises(UserError, match=says):
    scene3d.place(**GOOD | change)


@pytest.mark.parametrize('value', [-0.1, np.inf, np.nan])
def test_a_view_that_cannot_be_is_refused(value):
  for name in ('softness', 'difference'):
    with pytest.raises(UserError, match=rf'{name}={value} is not allowed; .* at least 0'):
      scene3d.View(64, **{name: value})
  with pytest.raises(UserError, match='size=0 is not allowed'):
    scene3d.View(0)
