"""What the demo answers: a scene as JSON, with its pictures."""

import base64
import io
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from air_jax.errors import UserError
from air_jax.inference import file_results, parsed_scenes
from air_jax.inference.parsed_scenes import ParsedScenes
from air_jax.viz import pillow_grid


def to_json(scenes: ParsedScenes) -> dict[str, Any]:
  """The scene of a batch of one, in the form that the page reads."""
  scene = jax.tree.map(lambda x: x[0], scenes)
  shown = scene.count_probs, scene.boxes, scene.scores, scene.canvases, scene.latents
  if not all(np.isfinite(x).all() for x in jax.tree.leaves(shown)):
    raise UserError('the model gives no finite numbers for this')
  count, side = int(scene.counts), len(scene.canvases)
  objects = [
    {'box': box.tolist(), 'score': float(score), 'glimpse': png(glimpse)}
    for box, score, glimpse in zip(
      scene.boxes[:count] / side, scene.scores, scene.glimpses, strict=False
    )
  ]
  return {
    'count': count,
    'probs': scene.count_probs.tolist(),
    'objects': objects,
    'canvas': png(scene.canvases),
    **_judged(scene, side),
    'latents': {name: x.tolist() for name, x in scene.latents._asdict().items()},
  }


def _judged(scene: ParsedScenes, side: int) -> dict[str, Any]:
  """How well the image is explained; of a scene that shows none, `ink_explained` is null."""
  regions = file_results.boxes_of(scene.regions)
  known = np.isfinite(scene.ink_explained)
  return {
    'doubt': parsed_scenes.doubt(bool(scene.unlike), len(regions)),
    'unexplained': (regions / side).tolist(),
    'ink_explained': float(scene.ink_explained) if known else None,
  }


def png(pixels: Float[np.ndarray, 'h w C']) -> str:
  """Pixels in [0, 1] as a data URL."""
  file = io.BytesIO()
  image = pillow_grid.to_image(pixels)
  (image.convert('L') if pixels.shape[-1] == 1 else image).save(file, 'png')
  return f'data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}'
