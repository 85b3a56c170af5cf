"""Every key of the configuration, with its unit and what is allowed. Variants override a few.

Not meant to be run by itself: see configs/multi_digits.py, which is what is trained by default. The
comment beside a key, or above it, is also what `--help` shows.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  """Returns the default configuration."""
  config = ConfigDict()
  config.seed = 0  # in [0, 2**32); decides initial parameters, batches and noise of training

  data = config.data = ConfigDict()
  # Glyphs: 'digits' (embedded in scikit-learn), 'pen_digits' (the same, with lines of any width),
  # 'mnist', 'omniglot', 'tetrominoes'; drawn shapes: 'sprites' (circle, square, triangle),
  # 'dsprites' (square, ellipse, heart, rotated); solids on a table: 'table_primitives' (cube,
  # sphere, cylinder); 'folder' of images; or 'module:function' of your own
  data.source = 'digits'
  # 'disjoint' (boxes do not overlap), 'adjacent' (ink does not), 'touching' (ink may, and adds up)
  # or 'occluding' (objects hide others, of which a quarter at least stays visible)
  data.layout = 'disjoint'
  data.mnist_dir = ''  # folder of the four IDX .gz files of MNIST; '' downloads them
  data.omniglot_dir = ''  # folder of Omniglot's images_background*.zip; '' downloads them
  data.dir = ''  # folder of your PNG, JPEG, TIFF, BMP, WebP or GIF files, for source 'folder'
  data.counts_csv = ''  # file of 'name,count' lines, for evaluation on your images; '': none
  # Of your images as grey: 'red', 'green', 'blue' or a channel's number from '0'; '' takes all
  data.channel = ''
  # (low, high), low < high, of your images: the values in their files that become black and white;
  # () is the full range of the file's type, or what stretch measures
  data.levels = ()
  data.stretch = False  # measure levels from the training images, where levels are ()
  data.invert = False  # make dark bright: for dark objects on bright ground
  data.gamma = 1.0  # > 0, power of the brightness after that; 0.5 shows dim objects beside bright
  # >= 0, size of an object in pixels of your images: they are then cut into crops in which that is
  # 0.36 of the canvas, so that a few large images do; 0 fits whole images to the canvas
  data.object_pixels = 0.0
  data.fit = 'crop'  # how your images become square: 'crop' to the centre, 'pad' or 'squash'
  data.strict = False  # refuse a folder with an unreadable image instead of leaving the image out
  data.cache_dir = ''  # folder of composed scenes; '' is air_jax in the user's cache folder
  data.canvas_size = 50  # pixels >= 1, side of a scene
  data.colour = False  # three channels and coloured objects instead of one grey channel
  # Of objects: 'bright' (white, or one of six bright colours) or 'uniform' (each channel in [0, 1])
  data.palette = 'bright'
  data.min_objects = 0  # >= 0
  data.max_objects = 2  # in max(1, min_objects) .. 65,534; counts are uniform between the two
  # In place of these two, the counts to draw from, each as often as the others: (0, 1, 3) leaves
  # out 2. Each >= 0, at least one >= 1; () draws from min_objects to max_objects
  data.counts = ()
  # > 0, as a multiple of the native size (a digit is about 20 pixels); sizes are uniform between
  # min_scale and max_scale
  data.min_scale = 1.0
  data.max_scale = 1.0  # >= min_scale
  # Random in each scene: 'black', 'grey' (each channel has a level up to 0.5), 'gradient' (between
  # two of those), 'texture'; 'level' (one level up to 1 in all channels) or 'colour' (in each);
  # 'grid' (lines 5 pixels apart); or, in every scene the same, 'dim' (0.1)
  data.background = 'black'
  data.noise = 0.0  # in [0, 1], standard deviation of Gaussian noise on each pixel
  data.train_scenes = 60_000  # >= train.batch_size
  data.test_scenes = 10_000  # >= 1, composed of held-out glyphs
  data.seed = 0  # in [0, 2**32); decides the scenes
  data.online = False  # compose new training scenes on the device in every training step
  # If not online, scenes are 'resident' (all on the device), a 'stream' (from disk) or 'auto'
  # (resident up to resident_gb)
  data.reading = 'auto'
  data.resident_gb = 2.0  # >= 0, GB of images up to which 'auto' is 'resident'
  data.workers = 0  # in 0 .. 1,000, processes that read a stream; 0: a thread of this one

  model = config.model = ConfigDict()
  model.max_steps = 3  # T >= 1, inference steps: most objects that the model can find
  # What finds the objects: the article's 'lstm', or 'voting', which sees what is left to explain
  # and finds more objects than it was trained on, also on larger canvases; see generalisation.md
  model.cell = 'lstm'
  model.looks = 2  # in 1 .. 32, crops by which 'voting' corrects a place
  model.glimpse_size = 20  # pixels in 1 .. data.canvas_size, side of crops and glimpses
  model.code_size = 50  # D >= 1, size of z_what
  model.cell_size = 256  # >= 1, units of the 'lstm'
  # Pixels in 0 .. data.canvas_size, side of the patches that the cell sees; 0: raw pixels ('lstm')
  model.patch_size = 5
  model.patch_features = 16  # >= 1, of each patch
  model.patch_rounds = 2  # in 0 .. 32, rounds that combine features of neighbouring patches
  # Hidden layers of the image encoder of 'lstm', each >= 1; at least one
  model.encoder_sizes = (256, 256)
  model.presence_sizes = (256,)  # hidden layers of the presence head
  model.location_sizes = (256,)  # hidden layers of the location head, or of each look
  model.glimpse_encoder_sizes = (256, 256)  # hidden layers of the glimpse encoder
  model.glimpse_decoder_sizes = (256, 256)  # hidden layers of the glimpse decoder
  # The 'lstm' also attends to the difference between image and canvas; needs patch_size > 0
  model.residual = False
  model.attention_heads = 8  # >= 1, positions attended to at once; used if residual
  # Where objects overlap: 'add' (their brightness adds up), or 'over' (those found first hide those
  # found later; each object has a mask, and may be darker than what is behind it), or 'depth' (near
  # ones hide those behind them; needs networks that know distances, see docs/three_d.md)
  model.compositing = 'add'
  # 'black', 'constant' (one learned image), or one of each scene: 'polynomial' (of the place, which
  # most pixels lie near to) or 'latent' (a grid of colours; it may paint large objects)
  model.background = 'black'
  model.background_degree = 0  # of 'polynomial': 0 is one colour, 1 a slope, 2 also a bright middle
  model.background_code_size = 8  # E >= 1, size of z_background; used by 'latent', as the next two
  # >= 2, side of the grid; the encoder sees an image of twice as many pixels
  model.background_grid = 5
  model.background_sizes = (128,)  # hidden layers of the encoder and the decoder
  # Hidden layers of the baseline network; used by objectives 'nvil', 'nvil_to_go' and 'iwae'
  model.baseline_sizes = (256, 128)
  # The networks: '' for the standard ones, or 'module:build', see air_jax/model/networks.py
  model.networks = ''
  # 'gaussian', 'student' (t, for images with a few pixels far off), 'bernoulli' (binary images) or
  # 'module:factory', see air_jax/model/likelihoods.py
  model.likelihood = 'gaussian'
  model.likelihood_std = 0.2  # > 0, of a pixel; pixels are in [0, 1]. The paper's is 0.3
  model.learn_likelihood_std = False  # learn it, from that value; it stays above 0.02
  model.presence_bias = 2.0  # initial log-odds that an inference step finds an object
  model.where_std_bias = -1.0  # the initial std of z_where is softplus of this
  model.what_std_bias = 0.5  # the initial std of z_what is softplus of this
  model.output_bias = -2.0  # initial glimpses, or their masks, are sigmoid of this
  model.size_prior_mean = 0.42  # in (0, 1), size of a window as a fraction of the canvas
  model.size_prior_std = 0.05  # > 0, of the window's log-odds; wide priors merge two objects
  model.learn_size_prior = True  # learn that prior, from the two values above
  model.shift_prior_std = 1.0  # > 0, of the raw shift; a window's centre is its tanh
  # The count of a parsed image: 'presence', the mode of the presence head's posterior, or
  # 'explanation', the mode of the exact posterior given the decoded objects
  model.count_by = 'presence'
  # In 0 .. 32, how often each object of a parsed image is explained again with its neighbour, to
  # keep what the bound prefers; the count is then that of the 'explanation'. Parsing takes tens of
  # times as long; training is the same. A smaller objective.prior_end, such as 1e-12, then keeps
  # digits from being split in two
  model.sweeps = 0

  objective = config.objective = ConfigDict()
  # Of one roll-out: 'exact', 'collapsed', 'reinforce', 'nvil', 'nvil_to_go', 'mvd', 'disarm',
  # 'concrete'; of several: 'iwae', 'vimco', 'vimco_arithmetic', 'collapsed_iwae', 'doubly_iwae',
  # 'rws'; or 'module:loss' of your own. See docs/estimators.md
  objective.name = 'collapsed'
  objective.particles = 5  # K >= 1, roll-outs of an image where several; 'vimco' and 'rws': >= 2
  objective.centre = False  # subtract its moving average from the learning signal of a baseline
  objective.normalise = False  # and divide it by its moving deviation where that is above 1
  objective.sleep = False  # 'rws' also learns to explain scenes sampled from the prior
  objective.temperature = 1.0  # > 0, initial, of the relaxed presences of 'concrete'
  objective.final_temperature = 0.3  # > 0
  objective.temperature_steps = 2000  # >= 0, training steps of exponential annealing between them
  objective.sampled_kl = False  # sampled log-ratios for analytic KLs: a strict bound, more noise
  objective.smoothing = 0.9  # in [0, 1], initial weight of the uniform count in its posterior
  # >= 0, training steps at that weight; while it is 1 the presence head gets no gradient
  objective.smoothing_hold = 0
  objective.smoothing_steps = 1500  # >= 0, further training steps until it is final_smoothing
  # In [0, 1]; above 0, each object must go on explaining as much as it can by itself
  objective.final_smoothing = 0.0
  objective.kl_warmup = 0.02  # in (0, 1], initial weight of the KL of shifts and of z_what
  objective.kl_warmup_steps = 1000  # >= 0, training steps until that weight is 1
  objective.prior_start = 0.99  # > 0, initial success probability of the count's geometric prior
  objective.prior_end = 1e-5  # > 0, its final value
  objective.prior_steps = 1000  # >= 0, training steps of exponential annealing between the two

  train = config.train = ConfigDict()
  train.steps = 1500  # >= 1; raise it to continue a finished run
  train.batch_size = 64  # images in 1 .. data.train_scenes
  train.learning_rate = 7e-4  # > 0, of Adam
  train.adam_b2 = 0.99  # in [0, 1), decay of its second moment; the baseline's is 0.999
  train.final_learning_rate = 0.02  # in [0, 1], fraction that is left after the cosine decay
  train.baseline_learning_rate = 10.0  # > 0, of the baseline, as a multiple of learning_rate
  train.average = 0.998  # in [0, 1), decay of the averaged parameters that are evaluated; 0: none
  train.clip_norm = 0.0  # >= 0, of the gradient's global norm, nats; 0 does not clip
  # >= 0, consecutive updates that may be skipped because a gradient is not finite; 0 stops at the
  # first
  train.skip_not_finite = 0
  train.log_every = 100  # >= 1, training steps in one call to the device; metrics are read after it
  train.eval_every = 500  # >= 1, training steps between evaluations on held-out scenes
  # >= 0, evaluations in a row at a plateau (neither count accuracy nor bound improves), after which
  # the run ends with the next evaluation; 0: it makes all steps. See docs/training.md
  train.stop_when = 0
  # >= 0, training steps between evaluations that are also drawn, about a second for each member; 0:
  # only the last
  train.draw_every = 500
  train.checkpoint_every = 500  # >= 1, training steps between checkpoints
  train.keep_checkpoints = 3  # >= 1, the newest are kept
  train.keep_every = 0  # >= 0, checkpoints at multiples of this step are kept for good; 0: none
  train.keep_best = 0  # >= 0, checkpoints with the highest held-out ELBO that are also kept
  train.population = 1  # >= 1, members trained in one program: runs of seed, seed + 1, ...
  train.success = 0.98  # in [0, 1], held-out count accuracy from which a member has succeeded

  # Numbers in which the members of a population differ: () for none, or one for each member, such
  # as (7e-4, 1e-3) for a population of 2. They replace the key of the same name in section `train`
  # or `model`, with what is allowed there
  members = config.members = ConfigDict()
  members.learning_rate = ()  # of section train
  members.likelihood_std = ()  # of section model, like all below
  members.presence_bias = ()  # initial
  members.where_std_bias = ()  # initial
  members.what_std_bias = ()  # initial
  members.output_bias = ()  # initial
  members.size_prior_mean = ()  # in (0, 1)
  members.size_prior_std = ()  # > 0
  return config
