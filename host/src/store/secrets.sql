-- Schema 5: secrets are encrypted. What of a task is secret stands in `sealed`, and the other columns hold it masked; rows of
-- before keep what they have in the clear, with NULL here.
ALTER TABLE task ADD COLUMN sealed BLOB;

-- Secrets that belong to no single task, encrypted: refreshed credentials, jars of cookies; and `check`, by which the key is
-- known to be the right one.
CREATE TABLE secret (
  name TEXT PRIMARY KEY NOT NULL,
  content BLOB NOT NULL,
  at INTEGER NOT NULL                 -- when it was written
) STRICT, WITHOUT ROWID;
