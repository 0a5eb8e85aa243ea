"""What a person looks at first: one HTML file that works offline and sends nothing anywhere.

data       what the report shows, as plain values
collect    fills it from a build; `sample` chooses rows, `shelf` and `pixels` fetch them, `spread` counts scores
truth      edit success, where an evaluation has left it
figures    geometry of histograms and curves
page       the HTML, with limbeck/templates/report.html.j2
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limbeck.built import Build


def write_report(build: Build) -> Path:
    """Writes OUT/report/index.html and returns its path.

    Raises:
        DiskFull: there is no room; an older report stays.
    """
    from limbeck.report.collect import collect
    from limbeck.report.page import html
    from limbeck.store import disk_errors, write_file

    path = build.path / "report" / "index.html"
    page = html(collect(build))
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, page.encode())
    return path
