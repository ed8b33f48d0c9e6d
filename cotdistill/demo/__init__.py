"""The models of the embedded world (`cotdistill.world`): a teacher and an untrained student, and how they are built.

The world is small enough to train on a laptop and exact enough to check every step of reasoning. It is a test bench
and a first lesson, not evidence about large models.

    corpora     the plain documents from which teacher and untrained student are trained
    tokenizer   one token per word of the world, byte level for everything else
    build       trains the models from seeds
"""
