"""The search page itself, under the rights of whoever asks."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import pgettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from search import embedders, query, spaces
from search.embedders.states import State, state
from search.page import showing
from search.page.form import LIMITS, MODES, SearchForm, like
from search.page.permissions import may_search, types
from search.query import ExactCheck, Results, SearchError


@never_cache
@require_safe
def find(request: HttpRequest) -> HttpResponse:
    """The form, and below it what it finds."""
    if not may_search(request):
        raise PermissionDenied
    kinds = types(request)
    form = SearchForm(request.GET, kinds)
    page = showing.Page(form, kinds)
    if form.is_valid():
        try:
            _answer(request, form, page)
        except SearchError as error:
            page.refused = _("That cannot be searched for: %s") % error
    if not page.asked:
        embedders.warm()
    context: dict[str, Any] = {
        **admin.site.each_context(request),
        "title": pgettext("noun", "Search"),
        "page": page,
        "form": form,
        "modes": MODES,
        "limits": LIMITS,
        "embedder": _chosen(),
        "coverage": showing.coverage(page.found),
        "building": [showing.Progress(space) for space in [spaces.building()] if space],
    }
    return TemplateResponse(request, "search/find.html", context)


def _answer(request: HttpRequest, form: SearchForm, page: showing.Page) -> None:
    """More like one entry, or what the question finds, with or without the check."""
    if wanted := like(request.GET.get("like", "")):
        page.like = wanted
        page.show(_more_like(form, *wanted))
    elif form.text:
        narrowing = form.narrowing()
        page.show(query.search(form.text, mode=form.chosen_mode, limit=form.chosen_limit, **narrowing))
        if "exact" in request.GET:
            page.check = _checked(form, narrowing, page)


def _more_like(form: SearchForm, entity_type: str, entity_id: Any) -> Results:
    narrowing = form.narrowing()
    if entity_type not in form.types:
        raise PermissionDenied
    return query.more_like(entity_type, entity_id, limit=form.chosen_limit, **narrowing)


def _checked(form: SearchForm, narrowing: dict[str, Any], page: showing.Page) -> ExactCheck | None:
    try:
        return query.exact_check(form.text, limit=form.chosen_limit, **narrowing)
    except SearchError as error:
        page.unchecked = str(error)
        return None


def _chosen() -> State | None:
    """Only it: to tell of the others is to load what they are made of."""
    provider = settings.EMBEDDINGS_PROVIDER
    return None if provider == embedders.OFF else state(provider)
