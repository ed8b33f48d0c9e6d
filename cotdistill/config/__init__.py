"""One frozen configuration per command: what its options mean, checked once, recorded in every result.

Every option is defined once, as a field (`config.option`). `--config FILE` reads the same fields from YAML or from a
run.json (`config.reading`); options given on the command line win.
"""

from cotdistill.config.asking import AskingOptions, ElicitConfig
from cotdistill.config.common import DEMO, Config, Dtype, Options
from cotdistill.config.comparing import CompareConfig
from cotdistill.config.grid import AblateConfig
from cotdistill.config.pushing import PushConfig
from cotdistill.config.server import ServerOptions
from cotdistill.config.training import DistillConfig, TrainingOptions
from cotdistill.config.walking import EvaluateConfig, PredictConfig, StudentOptions, WalkingOptions

__all__ = [
    "DEMO",
    "AblateConfig",
    "AskingOptions",
    "CompareConfig",
    "Config",
    "DistillConfig",
    "Dtype",
    "ElicitConfig",
    "EvaluateConfig",
    "Options",
    "PredictConfig",
    "PushConfig",
    "ServerOptions",
    "StudentOptions",
    "TrainingOptions",
    "WalkingOptions",
]
