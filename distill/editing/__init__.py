"""What the editor students are made of: their network, conditioning, pruning, guidance, consistency, and judgement.

    network       U-Net with source channels (new ones at zero), text encoder, taps on its blocks
    words         instruction words that a tokenizer doesn't know become tokens
    conditioning  what a training example is: latents, noise, time, which condition is dropped
    latents       the autoencoder as a cached teacher: latents once, not at every step
    parts         everything of a pipeline that isn't trained, and the pipeline made of it all
    judging       did the edit happen, did the rest stay; the curve over s_I; evaluations and latency

Nothing here knows the trainer; the students in `distill/students/` put it together.
"""
