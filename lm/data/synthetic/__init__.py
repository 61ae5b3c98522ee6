"""A generated little world with known answers: documents to train on, questions about entities never seen in them.

The public door. `World(seed)` is everything most callers need:

    world = World(seed=0)
    for document in world.documents("train", n=20_000): ...
    questions = world.questions("test")
"""

from lm.data.synthetic.questions import Question
from lm.data.synthetic.world import World, WorldDocument

__all__ = ["Question", "World", "WorldDocument"]
