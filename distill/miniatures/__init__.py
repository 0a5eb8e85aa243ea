"""Trains the built-in models on the storybook: `limbeck train-miniatures [NAME]`.

    bank     pictures and captions of training scenes, rendered once
    loop     the training loop they share: warm-up, decay, EMA, checkpoints, resume
    vae, unet, clip, llm, reader   one model each: `train(folder, ...)` and `measure(folder)`
    cards    a README beside each model, from its measured figures

Weights land in `limbeck/miniatures/NAME` in the standard formats; there is no code there.
"""
