"""What keeps the index true: cascades, defaults for SQL clients, and how wide and busy rows are stored."""

from django.db import migrations

FORGET = """
-- Work ends with its entry.
ALTER TABLE search_unembedded ADD CONSTRAINT search_unembedded_entry_fk
    FOREIGN KEY (entry_id) REFERENCES search_index (id) ON DELETE CASCADE;

-- Entries of rows that are gone. Twice, because the copying of a space holds the entry it copies: the first pass waits
-- for it, the second sees its copy.
CREATE FUNCTION search_forget(p_entity_type text, p_ids uuid[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    gone bigint;
    late bigint;
BEGIN
    DELETE FROM search_index WHERE entity_type = p_entity_type AND entity_id = ANY (p_ids);
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone > 0 THEN
        DELETE FROM search_index WHERE entity_type = p_entity_type AND entity_id = ANY (p_ids);
        GET DIAGNOSTICS late = ROW_COUNT;
    END IF;
    RETURN gone + coalesce(late, 0);
END $$;
"""
UNDO_FORGET = """
DROP FUNCTION search_forget(text, uuid[]);
ALTER TABLE search_unembedded DROP CONSTRAINT search_unembedded_entry_fk;
"""

SPACE = """
-- SQL clients that name no space write into the one that serves.
CREATE FUNCTION search_index_default_space() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT id INTO NEW.space FROM search_spaces WHERE status = 'active';
    RETURN NEW;
END $$;
CREATE TRIGGER search_index_default_space BEFORE INSERT ON search_index FOR EACH ROW
    WHEN (NEW.space IS NULL) EXECUTE FUNCTION search_index_default_space();
"""
UNDO_SPACE = "DROP FUNCTION search_index_default_space() CASCADE;"

STORAGE = """
-- A vector is read whenever it is compared: keep it in the row, and let long texts go elsewhere instead.
ALTER TABLE search_index ALTER COLUMN embedding SET STORAGE MAIN, ALTER COLUMN tsv SET STORAGE MAIN;
ALTER TABLE search_index SET (toast_tuple_target = 4080);
-- Rows of these live for seconds: vacuum early and without pauses.
ALTER TABLE search_pending SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0);
ALTER TABLE search_unembedded SET (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0);
"""


class Migration(migrations.Migration):
    dependencies = [("search", "0001_index")]
    operations = [
        migrations.RunSQL(FORGET, UNDO_FORGET),
        migrations.RunSQL(SPACE, UNDO_SPACE),
        migrations.RunSQL(STORAGE, migrations.RunSQL.noop),
    ]
