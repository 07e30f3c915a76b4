"""python demo/latency.py: how long the explorers take.

Seconds of a slider's answer at every point of the atlas, and of live trainings with their moving curve.
"""

import statistics

from dst_tutorial.studies import POINTS, Point
from dst_tutorial.teaching import draw_dst, dst_explorer
from dst_tutorial.timing import first_call

box = dst_explorer()
answers = [first_call(lambda p=p: box.picture.show(draw_dst(**p._asdict())))[1] / 1e3 for p in POINTS]
median = statistics.median(answers)
print(f"a slider answers in {median:.3f} s (median of {len(answers)}; {max(answers):.3f} at most)")

box.run(Point(), seed=999)  # compiles and loads
trainings = [first_call(lambda seed=seed: box.run(Point(), seed))[1] / 1e3 for seed in range(1000, 1005)]
median = statistics.median(trainings)
print(f"live training, default point: {median:.2f} s (median of {len(trainings)})")
