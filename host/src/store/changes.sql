-- Schema 7: what components have changed about a task's requests since it was added (hooks on-error and on-response), JSON of
-- codec.rs, encrypted: new links carry signatures.
ALTER TABLE task ADD COLUMN changes BLOB;
