"""The methods that a study can train, by name."""

from lib.method.rivals.adversaries import ImageAdversary, PoseAdversary
from lib.method.rivals.groups import GroupVAE, MultiLevelVAE, PlainVAE
from lib.method.rivals.learner import CycleLearner, MakeLearner
from lib.method.rivals.lord import LatentOptimization
from lib.method.rivals.variants import OwnS, Undetached

LEARNERS: dict[str, MakeLearner] = {
    "cycle": CycleLearner,
    "undetached": Undetached,
    "own_s": OwnS,
    "mlvae": MultiLevelVAE,
    "gvae": GroupVAE,
    "vae": PlainVAE,
    "lord": LatentOptimization,
    "adversarial": ImageAdversary,
    "drnet": PoseAdversary,
}
