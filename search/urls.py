"""Pages of search beside the lists of its tables; they stand in the admin and ask for a staff login."""

from django.contrib import admin
from django.urls import path

from search.page.views import find

urlpatterns = [path("search/find/", admin.site.admin_view(find), name="search_find")]
