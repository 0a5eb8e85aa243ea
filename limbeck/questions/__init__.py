"""Questions about storybook scenes whose answers are computed, not believed.

    view        a scene with its exact geometry
    program     what a question asks, as JSON, and the first implementation that answers it: on the scene graph
    seen        the second implementation: reads rendered labels and pixels, knows no scene
    ask         a question before it has words: type, template, program, slots
    things, places, pictures   draw questions: what is there, where it is, how two pictures differ
    english, hangul            words and templates of each language, native in each
    wording     an ask in words: question, answer, options
    clauses     an answer in clauses, and what a "not" in them denies
    yes_or_no   an answer that says yes or no, held against its question
    reading     an answer's words back into a value
    claims      what an open answer says about the picture, sentence by sentence
    injected    errors put in on purpose, by rules that share nothing with what finds them
    scoring     a model's answers: right, wrong, unread; minimal pairs as pairs
    photo       a picture known by boxes, names and masks alone
    teaching    examples that `mini:llm` learns the three written types from

Nothing here learns, and nothing here imports torch.
"""
