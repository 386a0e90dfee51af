"""A report as one page, in HTML or Markdown."""

from shapeft_tune.report.page.contents import contents
from shapeft_tune.report.page.markdown import as_markdown
from shapeft_tune.report.page.page import as_html

__all__ = ["as_html", "as_markdown", "contents"]
