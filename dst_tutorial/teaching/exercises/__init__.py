"""The notebooks' exercises, a module a notebook: for each a check that says what is wrong, and a solution.

check(answer)        what the answer does, in one sentence; a stub that returns None is "not yet"
hint_of(check)       the next hint, one at a time
solution_of(check)   the source of a solution
"""
