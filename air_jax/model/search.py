"""A better explanation of an image than one roll-out gives, by trying changes and keeping the best.

A roll-out finds objects one by one and never returns to one. The search does: it takes away an
object and its neighbour, explains what they leave in an image of few objects, and keeps the result
where the bound rises. That moves objects, merges two halves of one, and adds what was missed. To
separate two that were taken for one, it also does so once for each side of the object, where the
first step sees nothing but that half of the object's window: left to itself it would put its window
between the two again. What is proposed is judged by the model alone: by the cost

    -log p(x | objects) + sum of (KL(q(z_where) || p) + KL(q(z_what) || p) - log rho)

in nats, with rho the success probability of the prior of the count, `objective.prior_end`. Halves
of a window also show ways to split an object that gain a few nats, so that objects should cost more
than in training: 28 nats, say, with rho = 1e-12.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from air_jax.model import rendering, spatial_transformer
from air_jax.model.model import Model, numbers, priors
from air_jax.model.networks import Params
from air_jax.model.rollout import OF_OBJECTS, reorder, rollout, sample_noise
from air_jax.objectives import distributions
from air_jax.types import Rollout

_AGAIN = 3  # most objects of a new explanation of two
_VIEWS = 5  # see `in_view`
_WIDER = 1.2  # side of a window with the margin that is seen, in windows


class _Scene(NamedTuple):
  """T objects, some of which are present."""

  objects: Rollout  # with the fields of objects alone, the others hold no [T]
  costs: Float[Array, ' T']  # nats, of each object that is present
  present: Bool[Array, ' T']


def improve(model: Model, params: Params, image: Float[Array, 'H W C'], rolled: Rollout) -> Rollout:
  """Searches for a better explanation, explaining each object again `model.sweeps` times.

  Args:
    model: the model.
    params: parameters of its networks.
    image: in [0, 1].
    rolled: the explanation to start from, at posterior means.

  Returns:
    T objects, those that are worth more first: the first n are the best n of them, found by taking
    away one after another. Where their order makes the image (`Compositing.ordered`), those that
    are worth keeping come first, from front to back.
  """
  model = dataclasses.replace(model, numbers=numbers(model, params))
  background = rolled.canvases[0]
  costs = object_costs(model, params, rolled)
  scene = _Scene(rolled, costs, jnp.ones(len(costs), bool))
  scene = scene._replace(present=_worth_keeping(model, image, background, scene))

  def explain_again(scene, t):
    return _explain_again(model, params, image, background, scene, t), None

  objects = jnp.tile(jnp.arange(len(costs)), model.spec.sweeps)
  scene, _ = jax.lax.scan(explain_again, scene, objects)
  if model.compositing.ordered:
    order = jnp.argsort(~_worth_keeping(model, image, background, scene), stable=True)
  else:
    order, _ = _order(model, image, background, scene)
  return reorder(model, scene.objects, order)


def object_costs(model: Model, params: Params, rolled: Rollout) -> Float[Array, ' T']:
  """The cost of each object without the likelihood, in nats: its KL and its prior."""
  where_prior, what_prior = priors(model, params)
  kl = distributions.normal_kl(rolled.where, where_prior).sum(-1)
  kl += distributions.normal_kl(rolled.what, what_prior).sum(-1)
  return kl - jnp.log(model.spec.success)


def _explain_again(model, params, image, background, scene, t):
  """The scene with object t and its nearest neighbour explained anew, if that is better."""
  each = jnp.arange(len(scene.present))
  steps = min(_AGAIN, len(each))
  distance = jnp.sum((scene.objects.z_where[:, 1:] - scene.objects.z_where[t, 1:]) ** 2, -1)
  other = jnp.argmin(jnp.where(scene.present & (each != t), distance, jnp.inf))
  kept = scene.present & (each != t) & (each != other)
  # New objects go to the two places that are free now, and to another that is free if there is one.
  places = jnp.argsort(kept, stable=True)[:steps]
  free = ~kept[places]
  layers = scene.objects.painted
  left = functools.reduce(model.compositing.leave, those(layers, kept), image - background)
  few = dataclasses.replace(model, spec=dataclasses.replace(model.spec, max_steps=steps))
  means = jax.tree.map(jnp.zeros_like, sample_noise(few, jax.random.key(0)))
  subsets = jnp.array([*itertools.product((False, True), repeat=steps)])

  def explain(view):
    """Costs of the best of the new objects, which they are, the costs of each, and all of them."""
    hidden = ~in_view(scene.objects.z_where[t], view, len(image)) * left
    new = rollout(few, params, left + background, means, hidden=hidden)
    costs = object_costs(few, params, new)

    mixed = jnp.where(free[:, None, None, None], new.painted, layers[places])
    nll = subset_nll(model, image, background, layers.at[places].set(mixed))

    def total(chosen):
      return nll(kept.at[places].set(chosen | ~free)) + costs @ chosen

    totals = jax.vmap(total)(subsets & free)
    best = jnp.argmin(totals)
    return totals[best], (subsets[best] & free, costs, new)

  totals, proposals = jax.vmap(explain)(jnp.arange(_VIEWS))
  best = jnp.argmin(totals)
  chosen, costs, new = jax.tree.map(lambda x: x[best], proposals)
  before = _cost(model, image, background, scene)
  better = totals[best] + scene.costs @ kept < before(scene.present)
  # Of the old objects and the new ones, in this order, those that are taken.
  taken = each.at[places].set(jnp.where(chosen & better, len(each) + each[:steps], places))
  fields = {
    name: jax.tree.map(
      lambda old, new: jnp.concatenate([old, new])[taken],
      getattr(scene.objects, name),
      getattr(new, name),
    )
    for name in OF_OBJECTS
  }
  return _Scene(
    scene.objects._replace(**fields),
    jnp.concatenate([scene.costs, costs])[taken],
    jnp.where(better, kept.at[places].set(chosen | ~free), scene.present),
  )


def in_view(
  z_where: Float[Array, ' 3'], view: Int[Array, ''] | int, canvas_size: int
) -> Bool[Array, 'H W 1']:
  """The pixels that the first step of a new explanation sees.

  Args:
    z_where: of the object that is explained again.
    view: 0 is everything; 1 to 4 are the left, right, upper and lower half of the window
      with a margin.
    canvas_size: side of the image in pixels.
  """
  scale, x, y = spatial_transformer.place(z_where)
  pixels = (2.0 * jnp.arange(canvas_size) + 1.0) / canvas_size - 1.0
  across, down = (pixels - x) / scale, (pixels - y) / scale  # the window is [-1, 1]

  def sides(offset):
    inside = jnp.abs(offset) < _WIDER
    return jnp.ones_like(inside), inside & (offset < 0), inside & (offset > 0), inside

  whole, left, right, columns = sides(across)
  _, upper, lower, rows = sides(down)
  visible_rows = jnp.stack([whole, rows, rows, upper, lower])[view]
  visible_columns = jnp.stack([whole, left, right, columns, columns])[view]
  return (visible_rows[:, None] & visible_columns)[..., None]


def _worth_keeping(model, image, background, scene) -> Bool[Array, ' T']:
  """The objects without which the explanation would be worse, taking away one after another."""
  order, costs = _order(model, image, background, scene)
  best = jnp.argmin(costs)  # number of objects
  rank = jnp.argsort(order)
  return scene.present & (rank < best)


def _order(model, image, background, scene):
  """Objects by worth [T], and the cost of the first n = 0..T of them; absent ones come last."""
  cost = _cost(model, image, background, scene)

  def drop(present, _):
    costs = jax.vmap(cost)(present & ~jnp.eye(len(present), dtype=bool))
    absent = ~scene.present
    costs = jnp.where(present, costs, jnp.inf)
    least = jnp.where((present & absent).any(), jnp.argmax(present & absent), jnp.argmin(costs))
    return present.at[least].set(False), (least, costs[least])

  everything = jnp.ones_like(scene.present)
  _, (dropped, costs) = jax.lax.scan(drop, everything, None, length=len(everything))
  return dropped[::-1], jnp.concatenate([costs[::-1], cost(everything)[None]])


def _cost(model, image, background, scene) -> Callable[[Bool[Array, ' T']], Float[Array, '']]:
  """The cost of an image by those objects of a scene that are present."""
  nll = subset_nll(model, image, background, scene.objects.painted)
  return lambda present: nll(present) + scene.costs @ present


def subset_nll(
  model: Model,
  image: Float[Array, 'H W C'],
  background: Float[Array, 'H W C'],
  layers: Float[Array, 'T H W A'],
) -> Callable[[Bool[Array, ' T']], Float[Array, '']]:
  """-log p(x | the objects that are present), nats by `model.numbers`, as a function of which are.

  Where what an object adds does not depend on the others, the inner products of a Gaussian
  likelihood give it at once.
  """
  if model.compositing.independent:
    additions = model.compositing.additions(background, layers)
    known = model.likelihood.prefix_nll(image, background[None], additions, model.numbers)
    if known.products is not None:
      nll, products = known.nll[0] - 0.5 * known.products[0, 0], known.products

      def by_products(present):
        signs = jnp.concatenate([jnp.ones(1), -present.astype(float)])
        return nll + 0.5 * jnp.einsum('i,ij,j->', signs, products, signs, precision='highest')

      return by_products

  def by_canvas(present):
    canvas = rendering.compose(model.compositing, background, those(layers, present))[-1]
    return model.likelihood.prefix_nll(image, canvas[None], None, model.numbers).nll[0]

  return by_canvas


def those(layers: Float[Array, 'T H W A'], present: Bool[Array, ' T']) -> Float[Array, 'T H W A']:
  """The layers of the objects that are present; the others are empty."""
  return layers * present[:, None, None, None]
