"""The staff pages: one for each table of `entities/schema/`, made from its columns, and the lineage of all."""

from django.contrib import admin

from entities import loader
from entities.admin.backup import BackupAdmin
from entities.admin.change import EntityChangeAdmin
from entities.admin.entity import EntityAdmin, admin_for
from entities.admin.schema_change import SchemaChangeAdmin

for model in loader.models():
    admin.site.register(model, admin_for(model))

__all__ = ["BackupAdmin", "EntityAdmin", "EntityChangeAdmin", "SchemaChangeAdmin"]
