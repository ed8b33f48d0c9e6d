"""The embedded world: small enough to train on a laptop, exact enough to check every step of reasoning.

It is a test bench and a first lesson, not evidence about large models.

    problem     what a family of problems offers (text, answer, proof, false argument, judge of a sentence)
    kinds       two-hop knowledge: "A drill is a tool. A tool is found in the workshop."
    clocks      chains of sums on a clock: "9 plus 1 is 10. 10 plus 4 is 2."
    stow        features that choose a place: "Things that are heavy and dull go in the cellar."
    world       question rows: splits, choices, the spurious cue
    checker     the truth of a rationale, sentence by sentence
    corpora     the plain documents from which teacher and untrained student are made
    tokenizer   one token a word of the world, byte level for everything else
"""
