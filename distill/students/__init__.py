"""Students, one a file: what each is, reads, loses and is judged by; see `distill.student`."""
