"""The command line and the Prefect flows: the only folder that imports Prefect.

Flow files are named verb_noun, because Prefect's script loader puts a flow's folder first on `sys.path` and registers
the file under its bare name: a `flows/distill.py` would hide the package `distill`. Refer to a flow as
`flows.build_dataset:build_dataset`, never by path. What a command does lives in `limbeck`; here it is only asked for.
"""
