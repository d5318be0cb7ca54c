"""Template tag of lists: filters and search of the list that a page was opened from."""

from django import template
from django.http import QueryDict
from django.template.context import Context

register = template.Library()
KEPT = "_changelist_filters"  # where Django keeps them in the address of a page; templates cannot read such a name


@register.simple_tag(takes_context=True)
def list_filters(context: Context) -> str:
    """The query of the list, to be put behind its address; empty where there was none."""
    request = context.get("request")
    kept = request.GET.get(KEPT, "") if request is not None else ""
    return f"?{QueryDict(kept).urlencode()}" if kept else ""
