"""Turns datasets and teachers into small students. Reads the store; never imports generators, filters or flows.

    recipe.toml -> recipe ----> student (students/NAME.py: settings, loss terms, metrics, formats)
                     |
    build, storybook -> dataset (rows, mapped)  -> batches: labelled, unlabelled, dev, test; who is in which step
                     |                                 |
    teacher model -> teacher_cache (asked once,        |      terms by arm: labels | teacher | both | longer | sham
                     beside the rows; then unloaded) --+--> trainer -> arms/both-0/model (from_pretrained)
                                                                         |
    test rows, judge ----------------------------------> evaluate <------+
                                                            |
                     arms: gain, gap closed, intervals <----+----> publishing: exports, each measured from its own file
                                                            |
    OUT/student/ with README.md (the card)  <---------------+----> OUT/report.json

A student is one file; everything above but `students/` is shared and knows nothing about what is learnt. `distilling`
strings it together, `student` is the contract. docs/distill.md says how to add one.
"""
