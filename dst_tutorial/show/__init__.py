"""What a reader sees of the results: pictures, tables, and what became of each number on the slides.

`plots/` draws and knows no result file. `figures/` takes recorded results to it, a module a study, and makes the rows
of its tables; `pictures.py` and `tables.py` make files of both, `gallery.py` writes them all. `claims.py` lists the
slides' numbers, `checks.py` judges them; `headlines.py` does the same for our own sentences.
"""

from . import figures, plots
from .claims import CLAIMS, complaints, judged, ledger
from .gallery import changed_results, write_all
from .headlines import HEADLINES, headline_ledger, not_carried, sentences, stated, takeaways
from .pictures import animated
from .plots import for_slides
from .tables import markdown, provenance_line, threads_of
