"""Every key of the configuration, with its unit and what is allowed. Variants override a few.

Not meant to be run by itself; see configs/multi_digits.py, which is what main.py trains by default.
"""

from ml_collections import ConfigDict


def get_config():
  """Returns the default configuration."""
  config = ConfigDict()
  config.seed = 0  # in [0, 2**32); decides initial parameters, batches and noise of training

  data = config.data = ConfigDict()
  # Glyphs: 'digits' (embedded in scikit-learn), 'mnist', 'omniglot'; drawn shapes: 'sprites'
  # (circle, square, triangle), 'dsprites' (square, ellipse, heart, turned); or 'folder' of images
  data.source = 'digits'
  data.layout = 'disjoint'  # 'disjoint' or 'touching', see air_jax/data/scenes.py
  data.mnist_dir = ''  # folder of the four IDX .gz files of MNIST; '' fetches them
  data.omniglot_dir = ''  # folder of Omniglot's images_background*.zip; '' fetches them
  data.dir = ''  # folder of your PNG and JPEG files, for source 'folder'
  data.counts_csv = ''  # file of 'name,count' lines, for evaluation on your images; '' has none
  data.fit = 'crop'  # how your images come to a square: 'crop' its middle, 'pad' or 'squash'
  data.strict = False  # refuse a folder with an unreadable image rather than leave the image out
  data.cache_dir = ''  # where composed scenes are kept; '' is air_jax in the user's cache folder
  data.canvas_size = 50  # pixels, side of a scene
  data.colour = False  # three channels, objects coloured, rather than one of grey
  data.min_objects = 0  # >= 0
  data.max_objects = 2  # >= min_objects, >= 1; counts are drawn evenly
  data.min_scale = 1.0  # > 0, an object's size is drawn evenly between these, as a multiple of
  data.max_scale = 1.0  # >= min_scale, the native one (a digit is about 20 pixels)
  data.background = 'black'  # or 'grey', 'gradient', 'texture': each scene has its own
  data.noise = 0.0  # in [0, 1], std of Gaussian noise on each pixel
  data.train_scenes = 60_000  # >= train.batch_size
  data.test_scenes = 10_000  # >= 1, made of held-out glyphs
  data.seed = 0  # in [0, 2**32); decides the scenes
  data.online = False  # compose training scenes on the device, ever new ones, inside the step
  # Otherwise they are read 'resident' (all on the device), as a 'stream' (from disk) or
  # 'auto' (resident up to resident_gb)
  data.reading = 'auto'
  data.resident_gb = 2.0  # >= 0, GB of images that 'auto' puts on the device
  data.workers = 0  # >= 0, processes that read a stream; 0: a thread of this one

  model = config.model = ConfigDict()
  model.max_steps = 3  # T >= 1, most objects the model can find
  model.glimpse_size = 20  # pixels, <= data.canvas_size
  model.code_size = 50  # D >= 1, size of z_what
  model.cell_size = 256  # units of the LSTM
  model.patch_size = 5  # pixels, side of the patches the image is encoded by; 0 for raw pixels
  model.patch_features = 16  # of each patch, >= 1
  model.patch_rounds = 2  # >= 0, in each of which a patch is described anew with its neighbours
  model.encoder_sizes = (256, 256)  # hidden layers, here and below; at least one
  model.presence_sizes = (256,)
  model.location_sizes = (256,)
  model.glimpse_encoder_sizes = (256, 256)
  model.glimpse_decoder_sizes = (256, 256)
  model.residual = False  # the cell also sees the image minus what it has painted so far
  model.attention_heads = 8  # >= 1, places in that difference that it attends to at once
  model.background = 'black'  # or 'constant' (one learned image), 'latent' (a smooth one a scene)
  model.background_code_size = 8  # E >= 1, size of z_background; used by 'latent', as those below
  model.background_grid = 5  # >= 2, side of the grid of colours it is interpolated from
  model.background_sizes = (128,)
  model.baseline_sizes = (256, 128)  # NVIL's baseline; used by 'nvil', 'nvil_to_go' and 'iwae'
  # The networks: '' for the standard ones, or 'module:build', see air_jax/model/networks.py
  model.networks = ''
  # 'gaussian', 'bernoulli' (binary images) or 'module:factory', see air_jax/model/likelihoods.py
  model.likelihood = 'gaussian'
  model.likelihood_std = 0.2  # > 0, of a pixel; pixels are in [0, 1]. The article's is 0.3
  model.presence_bias = 2.0  # initial log-odds that a step finds an object
  model.where_std_bias = -1.0  # initial std of z_where is softplus of this
  model.what_std_bias = 0.5  # initial std of z_what is softplus of this
  model.output_bias = -2.0  # initial glimpses are sigmoid of this
  model.size_prior_mean = 0.42  # in (0, 1), an object's window as a share of the canvas
  model.size_prior_std = 0.05  # > 0, of the window's log-odds; loose priors lump objects together
  model.learn_size_prior = True  # these two are only where that prior starts
  model.shift_prior_std = 1.0  # > 0, of the raw shift; a window's centre is its tanh
  # Of a parsed image: 'presence', the mode of the presence head's posterior, or 'explanation', the
  # mode of the exact posterior given what the steps painted
  model.count_by = 'presence'

  objective = config.objective = ConfigDict()
  # Of one roll-out: 'exact', 'collapsed', 'reinforce', 'nvil' (objectives.py), 'nvil_to_go', 'mvd',
  # 'disarm', 'concrete' (presences.py); of several: 'iwae', 'vimco', 'vimco_arithmetic',
  # 'collapsed_iwae', 'doubly_iwae', 'rws' (particles.py, doubly.py)
  objective.name = 'collapsed'
  objective.particles = 5  # K >= 1, roll-outs of an image where several; 'vimco' and 'rws': >= 2
  objective.centre = False  # a learnt baseline's signal less its moving average
  objective.normalise = False  # and divided by its moving deviation, where that is above 1
  objective.sleep = False  # 'rws' also learns to explain scenes dreamt from the prior
  objective.temperature = 1.0  # > 0, initial, of the presences that 'concrete' relaxes
  objective.final_temperature = 0.3  # > 0
  objective.temperature_steps = 2000  # >= 0, steps of exponential annealing between the two
  objective.sampled_kl = False  # sampled log-ratios for analytic KLs: a strict bound, more noise
  objective.smoothing = 0.9  # in [0, 1], initial share of the uniform count in its posterior
  objective.smoothing_hold = 0  # >= 0, steps at that share; at 1 the presence head rests
  objective.smoothing_steps = 1500  # >= 0, further steps until that share has fallen to 0
  objective.kl_warmup = 0.02  # in (0, 1], initial weight of the KL of shifts and of what
  objective.kl_warmup_steps = 1000  # >= 0, steps until that weight has grown to 1
  objective.prior_start = 0.99  # > 0, initial success probability of the count's geometric prior
  objective.prior_end = 1e-5  # > 0, its final value
  objective.prior_steps = 1000  # >= 0, steps of exponential annealing between the two

  train = config.train = ConfigDict()
  train.steps = 1500  # >= 1; raise it to continue a finished run
  train.batch_size = 64  # images an update, 1 .. data.train_scenes
  train.learning_rate = 7e-4  # > 0, of Adam
  train.adam_b2 = 0.99  # in [0, 1), decay of its second moment; the baseline's is 0.999
  train.final_learning_rate = 0.02  # in [0, 1], share of it left at the end of the cosine decay
  train.baseline_learning_rate = 10.0  # > 0, of the baseline, as a multiple of the above
  train.average = 0.998  # in [0, 1), decay of the average of parameters that is evaluated; 0: none
  train.clip_norm = 0.0  # >= 0, of the gradient's global norm, nats; 0 does not clip
  # Updates in a row that may be left out where the gradient is not finite, rather than stop there
  train.skip_not_finite = 0  # >= 0; 0 stops at the first
  train.log_every = 100  # >= 1, steps in one call to the device, after which metrics are read
  train.eval_every = 500  # >= 1, steps between evaluations on held-out scenes
  # Steps between evaluations with pictures, which take a second for each member; 0: the last alone
  train.draw_every = 500  # >= 0
  train.checkpoint_every = 500  # >= 1, steps between checkpoints
  train.keep_checkpoints = 3  # >= 1, newest ones kept
  train.keep_every = 0  # >= 0, steps; those of its multiples are kept for good; 0: none
  train.keep_best = 0  # >= 0, also kept: those evaluated with the highest held-out ELBO
  train.population = 1  # >= 1, members trained in one program: runs of seed, seed + 1, ...
  train.success = 0.98  # in [0, 1], held-out count accuracy from which a member has succeeded

  # Numbers in which the members of a population differ, as in (7e-4, 1e-3) for a population of 2,
  # in place of the one above of the same name; () where they do not
  members = config.members = ConfigDict()
  members.learning_rate = ()  # of train
  members.likelihood_std = ()  # of model, as all that follow
  members.presence_bias = ()  # initial
  members.where_std_bias = ()  # initial
  members.what_std_bias = ()  # initial
  members.output_bias = ()  # initial
  members.size_prior_mean = ()  # in (0, 1)
  members.size_prior_std = ()  # > 0
  return config
