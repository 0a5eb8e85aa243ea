"""What the student `vlm` is made of: a picture's tokens among words, two trained towers joined, and how it is judged.

    words        a language model's tokenizer that knows pictures; conversations to ids, and which of them are answers
    joined       vision tower + projector + language model as one `LlavaForConditionalGeneration`, saved and loaded
    parts        what both models bring along, opened once: sight, words, pixels
    conversations  what a row's label teaches, and what its teacher's answer does
    collating    conversations to one batch; beginnings: pictures that its rows share
    vocabulary   whether a teacher's tokens are the student's
    top_tokens   the teacher whose likeliest tokens are cached
    asking       greedy answers: with the picture, without it, with a grey one, with another's
    fit_rows     whether rows can teach and judge at all
    verdicts     exact answers by type, POPE, CHAIR, and what a guesser would get

Nothing here trains: `distill.students.vlm` does, with the shared trainer.
"""
